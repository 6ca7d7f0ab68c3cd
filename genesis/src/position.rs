//! Where something stands in the chain. Each kind of number is a type of its own, so that a height is never
//! compared with a view; none converts silently from `u64`.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// The one after this; the last one stays (2^64 is never reached: at a million a second it takes
            /// 584,000 years).
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before this; the first one stays.
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }

            /// The one `count` after this.
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// How far this is past `earlier`; zero where it is not.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position!(
    /// A block's place in the chain; genesis is 0.
    Height
);
position!(
    /// One leader's attempt at a block; the first view is 1, genesis counts as view 0.
    View
);
position!(
    /// The span in which one validator set is in charge.
    Epoch
);
position!(
    /// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
    UnixMillis
);
