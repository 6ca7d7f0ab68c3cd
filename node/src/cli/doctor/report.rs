//! What the checks found.

use serde::Serialize;

use super::super::output::Output;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unchecked,
    /// It works, and may not go on working.
    Warn,
    /// The node does not work with it, or harms itself.
    Fail,
}

/// A check's end, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    pub state: State,
    /// What was found, with its values.
    pub found: String,
    /// What to do; nothing where all is well.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.checks.push(Finding { check, state: State::Ok, found: found.into(), way_out: None });
    }

    pub(super) fn unchecked(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        self.push(check, State::Unchecked, found, way_out);
    }

    pub(super) fn warn(&mut self, check: &'static str, found: impl Into<String>, way_out: impl Into<String>) {
        self.push(check, State::Warn, found, way_out);
    }

    pub(super) fn fail(&mut self, check: &'static str, found: impl Into<String>, way_out: impl Into<String>) {
        self.push(check, State::Fail, found, way_out);
    }

    fn push(
        &mut self,
        check: &'static str,
        state: State,
        found: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        self.checks.push(Finding { check, state, found: found.into(), way_out: Some(way_out.into()) });
    }

    /// How many checks ended so.
    pub(super) fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|finding| finding.state == state).count()
    }

    pub(super) fn for_people(&self, output: &Output) -> String {
        let mut text = String::new();
        for Finding { check, state, found, way_out } in &self.checks {
            let (word, good) = match state {
                State::Ok => ("ok", true),
                State::Unchecked => ("-", true),
                State::Warn => ("warn", false),
                State::Fail => ("FAIL", false),
            };
            // Padded before it is painted: colour codes have no width.
            text += &format!("{} {check:<12} {found}\n", output.good(good, &format!("{word:<5}")));
            if let Some(way_out) = way_out {
                text += &format!("{:19}→ {way_out}\n", "");
            }
        }
        let [ok, unchecked, warn, fail] =
            [State::Ok, State::Unchecked, State::Warn, State::Fail].map(|state| self.count(state));
        text + &format!("{ok} ok, {warn} warnings, {fail} failed, {unchecked} not checked\n")
    }
}

#[cfg(test)]
impl Report {
    /// The only finding of a check.
    pub(super) fn of(&self, check: &str) -> &Finding {
        let mut found = self.checks.iter().filter(|finding| finding.check == check);
        match (found.next(), found.next()) {
            (Some(finding), None) => finding,
            _ => panic!("not one finding of {check}: {:?}", self.checks),
        }
    }
}
