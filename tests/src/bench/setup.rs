//! What is measured. Each part has a text form, for the command line and for reports: two reports are of the same thing where
//! these are equal.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::relay::Weather;
use crate::simulation::chance::Chance;

/// How many DIDs one `create-many` brings.
pub const ITEMS: usize = 20;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    /// How many validators there are.
    pub validators: usize,
    /// Who may register.
    pub policy: Policy,
    /// What is sent.
    pub mix: Mix,
    /// How many bytes each item has, where nodes only order; none where they check and execute transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<u32>,
    /// What is between the validators; none where they talk over the loopback directly.
    pub links: Option<Links>,
    /// How many DIDs the ledgers have when a run begins; none where they are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u64>,
    /// The rates of the ramp, ascending; none where saturation is searched for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<u64>,
}

impl Setup {
    /// What is sent, and under which policy, for people.
    pub fn what(&self) -> String {
        match self.ordering {
            Some(bytes) => format!("ordering alone, {bytes} B each"),
            None => format!("{} · registration {}", self.mix, self.policy),
        }
    }
}

/// Who may register a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Anybody.
    Open,
    /// Whom a registrar endorses: it signs too.
    Endorsed,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Endorsed => "endorsed",
        })
    }
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Registers a DID.
    Create,
    /// Replaces the document of a DID that was registered before the load began.
    Update,
    /// A registrar registers [`ITEMS`] DIDs.
    CreateMany,
}

/// How often each kind of transaction occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mix {
    create: u32,
    update: u32,
    create_many: u32,
}

impl Mix {
    /// Nothing but registrations.
    pub const CREATES: Self = Self { create: 1, update: 0, create_many: 0 };

    /// `count` kinds by these weights. A seed gives the same ones always.
    pub fn draw(self, count: usize, seed: u64) -> Vec<Kind> {
        let mut chance = Chance::new(seed);
        let total = u64::from(self.create) + u64::from(self.update) + u64::from(self.create_many);
        let mut one = || match chance.below(total) {
            at if at < u64::from(self.create) => Kind::Create,
            at if at < u64::from(self.create) + u64::from(self.update) => Kind::Update,
            _ => Kind::CreateMany,
        };
        (0..count).map(|_| one()).collect()
    }

    /// How many signatures a transaction has on average.
    pub fn signatures(self, policy: Policy) -> f64 {
        let [create, update, many] = [self.create, self.update, self.create_many].map(f64::from);
        let of_create = if policy == Policy::Endorsed { 2.0 } else { 1.0 };
        (create * of_create + update + many * (1 + ITEMS) as f64) / (create + update + many)
    }

    /// Whether a registrar is needed for it.
    pub const fn needs_registrar(self) -> bool {
        self.create_many > 0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { create: 0, update: 0, create_many: 0 };
        for part in text.split(',') {
            let bad = || format!("`{part}` is not such as create=80: a kind of transaction and its weight");
            let (name, weight) = part.split_once('=').ok_or_else(bad)?;
            let weight = weight.parse().ok().filter(|weight| *weight <= 1_000_000).ok_or_else(bad)?;
            match name {
                "create" => mix.create = weight,
                "update" => mix.update = weight,
                "create-many" => mix.create_many = weight,
                _ => return Err(format!("`{name}` is none of create, update and create-many")),
            }
        }
        if mix.create + mix.update + mix.create_many == 0 {
            return Err(format!("`{text}` sends nothing: one weight must be above 0"));
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("create", self.create), ("update", self.update), ("create-many", self.create_many)];
        let parts = parts.iter().filter(|(_, weight)| *weight > 0);
        let parts: Vec<_> = parts.map(|(name, weight)| format!("{name}={weight}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// What is between each two validators, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Links {
    delay_ms: u64,
    loss_percent: u64,
    /// Bits a second; none where the rate is not limited.
    rate: Option<NonZeroU64>,
}

impl Links {
    /// What the relay makes of it.
    pub fn weather(self) -> Weather {
        Weather {
            delay: self.delay(),
            loss_percent: self.loss_percent,
            rate_bytes: self.rate.and_then(|rate| NonZeroU64::new(rate.get() / 8)),
            ..Weather::default()
        }
    }

    /// How long everything takes, one way.
    pub const fn delay(self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

const UNITS: [(&str, u64); 3] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000)];

impl FromStr for Links {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "such as 50ms,0,1Gbit: the delay one way, the percentage of segments lost, and the rate \
                        (Gbit, Mbit or kbit a second; 0 for no limit)";
        let [delay, loss, rate] = text.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("`{text}` has not three parts; expected {expected}"));
        };
        let bad = |part: &str, what: &str| format!("`{part}` is no {what}; expected {expected}");
        let delay_ms = delay.strip_suffix("ms").and_then(|number| number.parse().ok());
        let delay_ms =
            delay_ms.filter(|ms| *ms <= 10_000).ok_or_else(|| bad(delay, "delay up to 10000ms"))?;
        let percent = loss.strip_suffix('%').unwrap_or(loss).parse().ok().filter(|percent| *percent <= 50);
        let loss_percent = percent.ok_or_else(|| bad(loss, "percentage from 0 to 50"))?;
        let rate = if rate == "0" {
            None
        } else {
            let bits = UNITS.iter().find_map(|(unit, bits)| {
                rate.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*bits).and_then(NonZeroU64::new)
            });
            Some(bits.ok_or_else(|| bad(rate, "rate"))?)
        };
        Ok(Self { delay_ms, loss_percent, rate })
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms,{}%,", self.delay_ms, self.loss_percent)?;
        let Some(rate) = self.rate else { return f.write_str("0") };
        // What was parsed is a multiple of the last one.
        let unit = UNITS.iter().find(|(_, bits)| rate.get() % bits == 0).unwrap_or(&UNITS[2]);
        write!(f, "{}{}", rate.get() / unit.1, unit.0)
    }
}

/// As serde asks for texts that are parsed.
macro_rules! as_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(Mix);
as_text!(Links);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_drawn_by_its_weights_and_the_same_by_the_same_seed() {
        let mix: Mix = "create=80,update=15,create-many=5".parse().unwrap();
        let kinds = mix.draw(10_000, 3);
        assert_eq!(kinds, mix.draw(10_000, 3));
        let share = |kind| kinds.iter().filter(|other| **other == kind).count();
        for (kind, expected) in [(Kind::Create, 8_000), (Kind::Update, 1_500), (Kind::CreateMany, 500)] {
            assert!(share(kind).abs_diff(expected) < 150, "{kind:?}: {}", share(kind));
        }
        assert!(Mix::CREATES.draw(100, 1).iter().all(|kind| *kind == Kind::Create));
    }

    #[test]
    fn signatures_are_those_of_the_mix_and_the_policy() {
        assert_eq!(Mix::CREATES.signatures(Policy::Open), 1.0);
        assert_eq!(Mix::CREATES.signatures(Policy::Endorsed), 2.0);
        let mix: Mix = "create=1,create-many=1".parse().unwrap();
        assert_eq!(mix.signatures(Policy::Open), 11.0);
    }

    #[test]
    fn what_is_no_mix_is_refused_by_its_part() {
        for (text, part) in [
            ("creat=1", "creat"),
            ("create", "create"),
            ("create=-1", "create=-1"),
            ("create=0", "sends nothing"),
            ("", "``"),
        ] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn links_have_one_text_each() {
        for (text, shown) in [
            ("50ms,0,1Gbit", "50ms,0%,1Gbit"),
            ("5ms,2%,2500Mbit", "5ms,2%,2500Mbit"),
            ("0ms,1,0", "0ms,1%,0"),
        ] {
            let links: Links = text.parse().unwrap();
            assert_eq!(links.to_string(), shown);
            assert_eq!(shown.parse(), Ok(links));
        }
        let weather = "50ms,0,1Gbit".parse::<Links>().unwrap().weather();
        assert_eq!(weather.rate_bytes.map(NonZeroU64::get), Some(125_000_000));
    }

    #[test]
    fn what_is_no_link_is_refused_by_its_part() {
        for text in ["50ms", "50,0,1Gbit", "50ms,x,1Gbit", "50ms,0,fast", "50ms,51,1Gbit", "50ms,0,0Gbit"] {
            let error = text.parse::<Links>().unwrap_err();
            assert!(error.contains("such as 50ms,0,1Gbit"), "{error}");
        }
    }
}
