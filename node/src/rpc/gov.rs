//! `gov_…`: who is in charge, and what is voted on.

use client::api::Governance;

use super::Api;

pub(super) fn proposals(api: &Api) -> Governance {
    Governance::new(&api.store.governance())
}
