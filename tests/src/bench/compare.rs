//! A report against an earlier one: by ratios to the machine's ceilings, as days and machines differ.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::setup::Setup;

/// How much of a ratio may be gone.
const TOLERANCE: f64 = 0.1;

/// What is read of an earlier report.
#[derive(Clone, Debug, Deserialize)]
pub struct Baseline {
    /// What was measured.
    pub setup: Setup,
    /// Its ratios; higher is better.
    pub ratios: BTreeMap<String, f64>,
}

/// Why nothing is compared.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file cannot be read.
    #[error("the baseline {path} cannot be read: {problem}. It is a bench.json that scripts/bench wrote")]
    Unreadable {
        /// Which.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// It is of something else.
    #[error("the baseline {path} measured {theirs}, but this run {ours}: give the same options as for it")]
    Other {
        /// Which.
        path: String,
        /// What it measured.
        theirs: String,
        /// What is measured now.
        ours: String,
    },
}

/// One ratio, then and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// In the earlier report.
    pub before: f64,
    /// Now; none where it is gone.
    pub now: Option<f64>,
}

impl Line {
    /// Whether more than a tenth of it is gone.
    pub fn dropped(&self) -> bool {
        // What is no number is no ratio.
        !self.now.is_some_and(|now| now >= self.before * (1.0 - TOLERANCE))
    }
}

impl Baseline {
    /// Reads an earlier report of the same `setup`.
    ///
    /// # Errors
    /// When it cannot be read or is of another setup.
    pub fn read(path: &Path, setup: &Setup) -> Result<Self, BaselineError> {
        let name = || path.display().to_string();
        let unreadable = |problem: String| BaselineError::Unreadable { path: name(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let baseline: Self = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        if baseline.ratios.is_empty() {
            return Err(unreadable("it has no ratios".to_owned()));
        }
        if baseline.setup != *setup {
            let shown = |setup: &Setup| serde_json::to_string(setup).unwrap_or_default();
            return Err(BaselineError::Other {
                path: name(),
                theirs: shown(&baseline.setup),
                ours: shown(setup),
            });
        }
        Ok(baseline)
    }

    /// Each of its ratios beside that of now.
    pub fn compare(&self, now: &BTreeMap<String, f64>) -> Vec<Line> {
        let line = |(name, before): (&String, &f64)| Line {
            name: name.clone(),
            before: *before,
            now: now.get(name).copied(),
        };
        self.ratios.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::setup::{Mix, Policy};

    fn setup(validators: usize) -> Setup {
        Setup {
            validators,
            policy: Policy::Open,
            mix: Mix::CREATES,
            ordering: None,
            links: None,
            state: None,
            rates: Vec::new(),
        }
    }

    fn ratios<const N: usize>(ratios: [(&str, f64); N]) -> BTreeMap<String, f64> {
        ratios.map(|(name, ratio)| (name.to_owned(), ratio)).into()
    }

    #[test]
    fn a_ratio_that_dropped_by_more_than_a_tenth_is_named_and_no_other() {
        let baseline = Baseline {
            setup: setup(4),
            ratios: ratios([("a", 0.5), ("b", 0.5), ("c", 0.5), ("gone", 0.5), ("none", 0.5)]),
        };
        let now = ratios([("a", 0.451), ("b", 0.449), ("c", 2.0), ("none", f64::NAN), ("new", 1.0)]);
        let lines = baseline.compare(&now);
        let dropped: Vec<_> =
            lines.iter().filter(|line| line.dropped()).map(|line| line.name.as_str()).collect();
        assert_eq!(dropped, ["b", "gone", "none"]);
        assert_eq!(lines[0], Line { name: "a".to_owned(), before: 0.5, now: Some(0.451) });
    }

    #[test]
    fn a_baseline_of_something_else_is_refused_and_so_is_what_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let read = |validators| Baseline::read(&path, &setup(validators));
        assert!(matches!(read(4), Err(BaselineError::Unreadable { .. })));
        write("{}");
        assert!(matches!(read(4), Err(BaselineError::Unreadable { .. })));
        let report = serde_json::json!({ "setup": setup(4), "ratios": { "a": 0.5 }, "more": 1 });
        write(&report.to_string());
        assert_eq!(read(4).unwrap().ratios, ratios([("a", 0.5)]));
        let error = read(7).unwrap_err().to_string();
        assert!(error.contains("\"validators\":4") && error.contains("\"validators\":7"), "{error}");
        write(&serde_json::json!({ "setup": setup(4), "ratios": {} }).to_string());
        assert!(matches!(read(4), Err(BaselineError::Unreadable { .. })));
    }
}
