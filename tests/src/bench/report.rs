//! A report as text.

use std::fmt::Write;

use super::campaign::{Measured, RampStep, Report};
use super::ceilings::Sync;
use super::figures::{Counts, Summary};

impl Report {
    /// For people: tables, in Markdown so that they can be put into a document as they are.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a text can be written to");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let setup = &self.setup;
        let links = setup.links.map_or("the loopback".to_owned(), |links| links.to_string());
        let state = setup.state.map(|dids| format!("{dids} DIDs in state · ")).unwrap_or_default();
        writeln!(
            text,
            "{} validators and the client on {} cores · {} · links: {links} · {state}{} s a run\n",
            setup.validators,
            self.ceilings.cores,
            setup.what(),
            self.seconds,
        )?;
        self.write_ceilings(text)?;

        if let Some(new) = &self.new_ledgers {
            writeln!(text, "\nWith new ledgers:")?;
            write_ramp(text, &new.ramp)?;
            writeln!(text, "\nWith the DIDs in state:")?;
        }
        write_ramp(text, &self.ramp)?;

        let mut parts =
            vec![("saturation", &self.saturation), ("half", &self.half), ("double", &self.double)];
        if let Some(new) = &self.new_ledgers {
            parts.push(("saturation, new ledgers", &new.saturation));
            parts.push(("double, new ledgers", &new.double));
        }
        let cells = |cell: &dyn Fn(&str, &Measured) -> String| {
            parts.iter().map(|(name, part)| cell(name, part)).collect::<Vec<_>>().join(" | ")
        };
        let head = cells(&|name, part| format!("{name} (runs: {})", part.runs.len()));
        writeln!(text, "\n| medians | {head} |\n| --- | {} |", cells(&|_, _| "---:".to_owned()))?;
        let mut row = |name: &str, cell: &dyn Fn(&Measured) -> String| {
            writeln!(text, "| {name} | {} |", cells(&|_, part| cell(part)))
        };
        row("offered a second", &|part| part.offered_per_second.to_string())?;
        row("committed a second", &|part| {
            let rates = part.runs.iter().map(|run| run.summary.committed_per_second);
            let (least, most) = (rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max));
            format!("{:.0} ({least:.0} to {most:.0})", part.median.committed_per_second)
        })?;
        if self.setup.ordering.is_none() {
            row("DIDs a second", &|part| format!("{:.0}", part.median.dids_per_second))?;
        }
        row("latency p50", &|part| time(part.median.p50_ms))?;
        row("latency p95", &|part| time(part.median.p95_ms))?;
        row("latency p99", &|part| time(part.median.p99_ms))?;
        row("a validator's cores", &|part| format!("{:.2}", part.median.validator_cores))?;
        row("a validator's CPU, a transaction", &|part| format!("{:.0} µs", part.median.validator_us))?;
        row("the client's cores", &|part| format!("{:.2}", part.median.client_cores))?;
        row("the client's CPU, a transaction", &|part| format!("{:.0} µs", part.median.client_us))?;
        row("a validator's peak memory", &|part| format!("{:.0} MiB", part.median.peak_memory_mib))?;
        row("written to disk, a transaction", &|part| bytes(part.median.written_bytes))?;
        row("sent to other nodes, a transaction", &|part| bytes(part.median.sent_bytes))?;
        row("refused politely", &|part| sum(part, |counts| counts.busy))?;
        row("expired", &|part| sum(part, |counts| counts.expired))?;
        row("lost", &|part| sum(part, |counts| counts.lost))?;

        let delays = self.lone.p50_in_delays;
        let delays = delays.map(|delays| format!(", {delays:.1} one-way delays")).unwrap_or_default();
        writeln!(
            text,
            "\nOne transaction at a time ({}): p50 {}{delays}, p99 {}\n",
            self.lone.count,
            time(self.lone.p50_ms),
            time(self.lone.p99_ms)
        )?;
        for (name, ratio) in &self.ratios {
            writeln!(text, "{name:30}{ratio:.3}")?;
        }
        if !self.reached_saturation {
            writeln!(
                text,
                "saturation was not reached: all rates that were offered in the ramp were sustained"
            )?;
        }
        self.not_counted.iter().try_for_each(|what| writeln!(text, "not counted: {what}"))
    }

    fn write_ceilings(&self, text: &mut String) -> std::fmt::Result {
        let ceilings = &self.ceilings;
        let sync = |sync: &Sync| {
            format!("p50 {:.0} µs, p99 {:.0} µs, {:.0} a second", sync.p50_us, sync.p99_us, sync.per_second)
        };
        let batch = |us: f64, signatures: f64| {
            let transactions = signatures / self.signatures;
            format!(
                "{us:.1} µs each: at most {transactions:.0} transactions a second, checked by all validators"
            )
        };
        writeln!(text, "| ceiling of this machine | |")?;
        writeln!(text, "| --- | --- |")?;
        for (name, value) in [
            ("signatures, batches of 64", batch(ceilings.check_of_64_us, ceilings.signatures_of_64)),
            ("signatures, batches of 1,024", batch(ceilings.check_of_1024_us, ceilings.signatures_of_1024)),
            (
                "signatures, batches of 1,024, on all cores at once",
                batch(ceilings.check_of_1024_on_all_cores_us, ceilings.signatures_of_1024_on_all_cores),
            ),
            ("a signature alone", format!("{:.1} µs", ceilings.single_check_us)),
            ("4 KiB appended and synced", sync(&ceilings.append)),
            ("4 KiB overwritten and synced", sync(&ceilings.overwrite)),
            (
                "1 MiB appended and synced, by all validators at once",
                format!("{:.0} MB a second", ceilings.appended_bytes / 1e6),
            ),
            ("blake3 over 1 KiB", format!("{:.2} µs", ceilings.blake3_us)),
        ] {
            if self.setup.ordering.is_some() && name.contains("signature") {
                continue;
            }
            writeln!(text, "| {name} | {value} |")?;
        }
        Ok(())
    }
}

fn write_ramp(text: &mut String, ramp: &[RampStep]) -> std::fmt::Result {
    writeln!(
        text,
        "\n| offered a second | committed a second | DIDs a second | p50 | p95 | p99 | refused politely | |"
    )?;
    writeln!(text, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")?;
    for RampStep { saturated, figures } in ramp {
        let Summary { committed_per_second, dids_per_second, p50_ms, p95_ms, p99_ms, .. } = figures.summary;
        writeln!(
            text,
            "| {} | {committed_per_second:.0} | {dids_per_second:.0} | {} | {} | {} | {} | {} |",
            figures.offered_per_second,
            time(p50_ms),
            time(p95_ms),
            time(p99_ms),
            figures.counts.busy,
            saturated.as_deref().unwrap_or("sustained"),
        )?;
    }
    Ok(())
}

fn sum(part: &Measured, of: impl Fn(&Counts) -> u64) -> String {
    part.runs.iter().map(|run| of(&run.counts)).sum::<u64>().to_string()
}

/// Three digits at least, in a unit that suits.
pub fn time(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 1_000.0 => format!("{:.2} s", ms / 1e3),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

fn bytes(bytes: f64) -> String {
    if bytes >= 10_000.0 { format!("{:.1} KB", bytes / 1e3) } else { format!("{bytes:.0} B") }
}
