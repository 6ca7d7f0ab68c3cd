//! What commands print: answers to stdout, errors and progress to stderr; colour and motion only for people.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// JSON or for people.
    pub(super) fn new(json: bool) -> Self {
        let colour = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// Whether programs read what is printed.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer: `value` as JSON, or the text.
    pub(super) fn answer(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { text() };
        Self::print(&text)
    }

    /// Prints `value` where programs read.
    pub(super) fn answer_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        if self.json { Self::print(&serde_json::to_string_pretty(value)?) } else { Ok(()) }
    }

    fn print(text: &str) -> anyhow::Result<()> {
        match writeln!(io::stdout().lock(), "{}", text.trim_end()).and_then(|()| io::stdout().flush()) {
            // Whoever reads has seen enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }

    /// Tells people something beside the answer.
    pub(super) fn note(&self, text: &str) {
        if !self.json {
            // Nobody may be there to read it; the work goes on.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says why the command failed.
    pub(super) fn error(&self, error: &anyhow::Error, code: u8) {
        let text = full_text(error);
        let line = if self.json {
            json!({ "error": text, "exitCode": code }).to_string()
        } else if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            format!("\x1b[1;31merror:\x1b[0m {text}")
        } else {
            format!("error: {text}")
        };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Bold, for people.
    pub(super) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Green for good, yellow for not.
    pub(super) fn good(&self, good: bool, text: &str) -> String {
        self.paint(if good { "32" } else { "33" }, text)
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something moves while we wait for an unknown time.
    pub(super) fn spinner(&self, text: impl Into<String>) -> ProgressBar {
        let bar = ProgressBar::new_spinner().with_message(text.into());
        bar.set_draw_target(self.target());
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// How far something of known length is.
    pub(super) fn progress(&self, length: u64, text: impl Into<String>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length), self.target()).with_message(text.into());
        let style = ProgressStyle::with_template("{msg:28} [{bar:36}] {human_pos}/{human_len} {elapsed}");
        match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }
}

/// An error with its causes, each once: many of ours name their cause already.
pub(super) fn full_text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let inner =
            anyhow::anyhow!("disk full").context("cannot write a.toml: disk full").context("no testnet");
        assert_eq!(full_text(&inner), "no testnet: cannot write a.toml: disk full");
        let error: anyhow::Result<()> = Err(io::Error::other("disk full")).context("cannot write a.toml");
        assert_eq!(full_text(&error.unwrap_err()), "cannot write a.toml: disk full");
    }

    #[test]
    fn json_has_no_colour() {
        assert_eq!(Output::new(true).bold("x"), "x");
    }
}
