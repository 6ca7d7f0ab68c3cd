//! Model checking from the command line; `scripts/model` calls it.

use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use genesis::ValidatorIndex;
use tests::model::{Bounds, explore};
use tests::say::{say, tell};

const USAGE: &str = "usage: model [--views N] [--byzantine INDEX[,INDEX]] [--restarts]
  --views N          the last view in which something is said (default 2)
  --byzantine LIST   which of the four validators break the rules (default 1, the leader of view 1)
  --restarts         replicas also restart, at any moment";

struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{USAGE}", self.0)
    }
}

fn bounds(mut arguments: impl Iterator<Item = String>) -> Result<Bounds, Wrong> {
    let mut bounds = Bounds { validators: 4, byzantine: vec![ValidatorIndex(1)], views: 2, restarts: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Wrong(format!("{argument} needs a value")));
        match argument.as_str() {
            "--views" => {
                let text = value()?;
                bounds.views = text.parse().map_err(|_| Wrong(format!("--views {text} is not a number")))?;
            }
            "--byzantine" => {
                let list = value()?;
                let index = |text: &str| match text.parse() {
                    Ok(index) if index < bounds.validators => Ok(ValidatorIndex(index)),
                    _ => Err(Wrong(format!("--byzantine {list}: `{text}` is not one of 0 to 3"))),
                };
                bounds.byzantine = list.split(',').map(index).collect::<Result<_, _>>()?;
            }
            "--restarts" => bounds.restarts = true,
            other => return Err(Wrong(format!("`{other}` is not known"))),
        }
    }
    Ok(bounds)
}

fn main() -> ExitCode {
    let bounds = match bounds(std::env::args().skip(1)) {
        Ok(bounds) => bounds,
        Err(wrong) => {
            tell(wrong);
            return ExitCode::from(2);
        }
    };
    say(format_args!("{bounds:?}"));
    let started = Instant::now();
    let mut told = started;
    let report = explore(bounds, |level, looked_at, reached| {
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            tell(format_args!(
                "[{seconds} s] {level} messages sent; {looked_at} states looked at, {reached} reached"
            ));
        }
    });
    say(&report);
    say(format_args!("{} s", started.elapsed().as_secs()));
    if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
