//! `registry_…`: who may register DIDs for others, and who may issue.

use client::api::{Accreditation, Authorisation, Issuer, code};
use genesis::UnixMillis;
use ledger::registry::Role;
use ledger::{Code, Did, RegistryEntry, RegistryKey};

use super::{Api, Refusal, internal, refusal};

pub(super) fn issuer(api: &Api, did: Did) -> Result<Issuer, Refusal> {
    let mut accreditations = Vec::new();
    for role in [Role::Registrar, Role::Issuer] {
        accreditations.extend(accreditation(api, &did, role)?.map(Accreditation::new));
    }
    Ok(Issuer { did, accreditations })
}

/// Whether `did` may act as `role` at `time`, or at the newest block's, within `scope` where one is asked for.
pub(super) fn is_authorised(
    api: &Api,
    did: Did,
    role: Role,
    scope: Option<&str>,
    time: Option<UnixMillis>,
) -> Result<Authorisation, Refusal> {
    let tip = api.store.tip();
    let time = time.unwrap_or(tip.time);
    let reason = match accreditation(api, &did, role)? {
        None => Some(Code::NotAccredited.name()),
        Some(accreditation) => match accreditation.check(time) {
            Err(code) => Some(code.name()),
            Ok(()) if scope.is_some_and(|word| !accreditation.covers(word)) => Some("out_of_scope"),
            Ok(()) => None,
        },
    };
    let (authorised, reason) = (reason.is_none(), reason.map(str::to_owned));
    Ok(Authorisation { did, authorised, reason, time, height: tip.height })
}

fn accreditation(
    api: &Api,
    did: &Did,
    role: Role,
) -> Result<Option<ledger::registry::Accreditation>, Refusal> {
    let network = api.genesis.network();
    if did.network() != network {
        let message = format!("{did} is not of this network: this node serves `{network}`");
        return Err(refusal(code::INVALID_PARAMS, message));
    }
    let entry = api.store.registry(&RegistryKey::Accreditation(did.id(), role));
    Ok(match entry.map_err(|error| internal(&error))? {
        Some(RegistryEntry::Accreditation(accreditation)) => Some(accreditation),
        Some(_) | None => None,
    })
}
