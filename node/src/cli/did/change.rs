//! One change of a DID, from the keyring to its receipt.

use std::time::{Duration, Instant};

use client::api::{Busy, Fate, Receipt, code};
use client::keyring::Pending;
use client::wallet::{self, Terms};
use client::{Client, Keyring, RpcError};
use genesis::Digest;
use ledger::{Code, Did, Operation};
use serde_json::json;

use crate::cli::output::Output;
use crate::cli::{Ending, no_receipt};

/// What `resume` does with a change, by a node's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Submits the same bytes again: they take effect once at most.
    Submit,
    /// Signs it anew.
    Renew,
    /// Leaves it to the user, who can have it proved.
    Ask,
}

fn next(pending: &Pending, fate: &Fate) -> Next {
    match fate {
        Fate::Expired { height, .. } | Fate::Unknown { height, .. } if *height >= pending.expires_at() => {
            if is_signed_once(&pending.transaction.operation) {
                Next::Ask
            } else {
                Next::Renew
            }
        }
        _ => Next::Submit,
    }
}

/// Whether it is never signed again by the keyring alone. A second endorsement or withdrawal could take effect too: nothing in them names
/// the state that they are for, as all others name the version that they replace or make, or the DID that they begin. What owners
/// said of several new DIDs is for one expiry.
const fn is_signed_once(operation: &Operation) -> bool {
    matches!(operation, Operation::CreateMany(_) | Operation::Endorse(_) | Operation::WithdrawEndorsement(_))
}

/// Forgets the change `id` of `did`, which `resume` does not decide.
///
/// # Errors
/// When another change is pending, or none, or one that `resume` can finish: it may bring keys.
pub(super) fn forget(keyring: &Keyring, output: &Output, did: &Did, id: &Digest) -> anyhow::Result<()> {
    let entry = keyring.read(did)?;
    let Some(pending) = &entry.pending else { anyhow::bail!("nothing of {did} is pending") };
    if pending.id != *id {
        anyhow::bail!("transaction {} is pending of {did}, not {id}", pending.id);
    }
    if !is_signed_once(&pending.transaction.operation) {
        anyhow::bail!("transaction {id} is made once at most: finish it with `realdid did resume {did}`");
    }
    keyring.settle(did, id)?;
    let json = json!({ "did": did, "forgotten": id, "keyring": keyring.folder() });
    output.answer(&json, || format!("{did}: transaction {id} is forgotten."))
}

/// A change under way.
pub(in crate::cli) struct Change<'a> {
    pub(super) client: &'a Client,
    pub(super) keyring: &'a Keyring,
    pub(super) did: &'a Did,
    pub(super) timeout: Duration,
    pub(super) output: &'a Output,
}

impl Change<'_> {
    /// Finishes what an earlier command left unfinished, where there is such a thing.
    ///
    /// # Errors
    /// When there is still no receipt, or it says that nothing was changed.
    pub(in crate::cli) async fn resume(&self, terms: &Terms) -> anyhow::Result<Option<Receipt>> {
        let entry = self.keyring.read(self.did)?;
        let Some(pending) = &entry.pending else { return Ok(None) };
        // A node of another network would refuse it, and what is refused is settled.
        terms.check(&entry)?;
        self.output.note(&format!("Finishing the change that was interrupted ({}).", pending.id));
        let renewed = match next(pending, &self.client.fate(&pending.id).await?) {
            Next::Ask => {
                let said = format!("the node says that transaction {} is expired", pending.id);
                return Err(self.undecided(pending, &said));
            }
            Next::Renew => {
                let registrar =
                    entry.co_signer().map(|registrar| self.keyring.read(&registrar)).transpose()?;
                let renewed = wallet::renew(terms, &entry, registrar.as_ref(), pending)?;
                self.keyring.renew(self.did, &pending.id, renewed.clone())?;
                Some(renewed)
            }
            Next::Submit => None,
        };
        self.finish(Some(renewed.as_ref().unwrap_or(pending))).await.map(Some)
    }

    /// Submits a change that the keyring holds, waits for its receipt and notes that it is settled.
    ///
    /// # Errors
    /// When there is no receipt in time, or it says that nothing was changed.
    pub(in crate::cli) async fn finish(&self, pending: Option<&Pending>) -> anyhow::Result<Receipt> {
        let Some(pending) = pending else {
            anyhow::bail!("the keyring holds no pending change of {}", self.did);
        };
        let spinner = self.output.spinner(format!("waiting for the receipt of {}", pending.id));
        let receipt = self.submit_and_wait(pending).await;
        spinner.finish_and_clear();
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => return Err(self.unfinished(pending, error).await),
        };
        self.keyring.settle(self.did, &pending.id)?;
        // The DID is the hash of what this keyring made: whoever registered it, it was this very inception.
        let is_create = matches!(pending.transaction.operation, Operation::Create(_));
        let exists = is_create && receipt.code == Code::DidExists.number();
        if receipt.is_applied() || exists {
            return Ok(receipt);
        }
        let advice = match receipt.result.as_ref() {
            "version_mismatch" => {
                "another change came first; look at it with `realdid did resolve`, then try again"
            }
            "unauthorised" => "the DID's document has other keys now",
            "not_accredited" => {
                "no vote has accredited this DID, or it was withdrawn (`realdid gov propose accredit`)"
            }
            "accreditation_suspended" => "the validators suspended its accreditation",
            "accreditation_not_in_force" => "its accreditation does not hold yet, or no longer",
            "already_endorsed" => "a registrar vouches for it already",
            "not_endorsed" => "this registrar does not vouch for it",
            "endorsement_required" => "this network registers DIDs through registrars only",
            "not_revealed" => "another change came first, which commits to other keys; try again",
            "other_recovery" => {
                "the DID was recovered already, with this key or a later one; look at it, then try again"
            }
            _ => "nothing was changed",
        };
        let Receipt { id, height, result, .. } = &receipt;
        Err(Ending::NotApplied(format!(
            "{}: transaction {id} is final in block {height}, but was not applied ({result}): {advice}",
            self.did
        ))
        .into())
    }

    async fn submit_and_wait(&self, pending: &Pending) -> Result<Receipt, RpcError> {
        let (start, bytes) = (Instant::now(), pending.bytes());
        loop {
            match self.client.submit(&bytes).await {
                Ok(_) => break,
                Err(RpcError::Call { error, .. })
                    if error.code == code::BUSY && start.elapsed() < self.timeout =>
                {
                    let busy = error.data.and_then(|data| serde_json::from_value(data).ok());
                    let Busy { retry_after_ms } = busy.unwrap_or(Busy { retry_after_ms: 100 });
                    tokio::time::sleep(Duration::from_millis(retry_after_ms.clamp(10, 5_000))).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.client.wait(&pending.id, self.timeout.saturating_sub(start.elapsed())).await
    }

    /// What to do where a node's word alone says that there will be no receipt.
    fn undecided(&self, pending: &Pending, said: &str) -> anyhow::Error {
        let (did, id, until) = (self.did, pending.id, pending.expires_at());
        Ending::FateUnknown(format!(
            "{said}\nThat is not proved, and signed once more it could take effect twice, so it was not. Check it after block {until}: \
             realdid tx show {id} --prove --genesis FILE --after HEIGHT --expires-at {until}\n\
             Then forget it with: realdid did resume {did} --forget {id}\n\
             Where it took no effect, give the command again; to register several DIDs, with new requests of their owners."
        ))
        .into()
    }

    async fn unfinished(&self, pending: &Pending, error: RpcError) -> anyhow::Error {
        let refused = error.call().is_some_and(|error| matches!(error.code, code::REFUSED | code::MALFORMED));
        if refused && is_signed_once(&pending.transaction.operation) {
            return self.undecided(pending, &error.to_string());
        }
        if refused {
            return match self.keyring.settle(self.did, &pending.id) {
                Ok(()) => error.into(),
                Err(problem) => problem.into(),
            };
        }
        let did = self.did;
        if error.call().is_some_and(|error| error.code == code::EXPIRED) {
            if is_signed_once(&pending.transaction.operation) {
                return self.undecided(pending, &error.to_string());
            }
            let advice = format!("Sign and submit it again with: realdid did resume {did}");
            return Ending::NotApplied(format!("{error}\n{advice}")).into();
        }
        let why = no_receipt(self.client, self.timeout, &error).await.unwrap_or_else(|| {
            format!("{error}\nThe transaction can still be applied until height {}.", pending.expires_at())
        });
        Ending::FateUnknown(format!(
            "{why}\nThe keys of {did} are safe in {}. Finish with: realdid did resume {did}",
            self.keyring.folder().display(),
        ))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use client::keyring::{Entry, HeldKey};
    use genesis::{Height, SecretKey};
    use ledger::operation::Endorse;
    use ledger::{Deactivate, DidId, KeyNumber, Version};

    use super::*;

    fn did() -> Did {
        Did::new("test", DidId(Digest::from_bytes([5; 32])))
    }

    fn pending(operation: Operation) -> Pending {
        let signer = SecretKey::from_seed([1; 32]);
        Pending::new(ledger::Transaction::sign(Digest::ZERO, operation, Height(50), &[&signer]))
    }

    fn endorsed() -> Pending {
        pending(Operation::Endorse(Endorse { did: did().id(), registrar: did().id() }))
    }

    fn deactivated() -> Pending {
        let (did, replaces) = (did().id(), Some(Version(1)));
        pending(Operation::Deactivate(Deactivate { did, replaces, revealed: None }))
    }

    fn expired(height: u64) -> Fate {
        Fate::Expired { expires_at: Height(50), height: Height(height) }
    }

    fn unknown(height: u64) -> Fate {
        Fate::Unknown { height: Height(height), can_land_until: Height(50) }
    }

    #[test]
    fn what_could_take_effect_twice_is_never_signed_again_on_a_nodes_word() {
        for fate in [expired(50), unknown(50), unknown(90)] {
            assert_eq!(next(&endorsed(), &fate), Next::Ask, "{fate:?}");
            assert_eq!(next(&deactivated(), &fate), Next::Renew, "{fate:?}");
        }
        for fate in [unknown(49), Fate::Pending { expires_at: Height(50) }] {
            assert_eq!(next(&endorsed(), &fate), Next::Submit, "{fate:?}");
            assert_eq!(next(&deactivated(), &fate), Next::Submit, "{fate:?}");
        }
    }

    #[test]
    fn only_what_resume_leaves_to_the_user_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (keyring, output) = (Keyring::open(folder.path().join("ring")).unwrap(), Output::new(true));
        let entry = |pending| Entry {
            did: did(),
            chain: Digest::ZERO,
            keys: vec![HeldKey { number: KeyNumber::FIRST, secret: SecretKey::from_seed([1; 32]) }],
            recovery: Vec::new(),
            next: Vec::new(),
            pending,
        };
        let (endorsed, deactivated) = (endorsed(), deactivated());
        keyring.insert(&entry(Some(deactivated.clone()))).unwrap();
        for (id, problem) in [(endorsed.id, "not"), (deactivated.id, "realdid did resume")] {
            let error = forget(&keyring, &output, &did(), &id).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
            assert!(keyring.read(&did()).unwrap().pending.is_some());
        }
        keyring.renew(&did(), &deactivated.id, endorsed.clone()).unwrap();
        forget(&keyring, &output, &did(), &endorsed.id).unwrap();
        assert!(keyring.read(&did()).unwrap().pending.is_none());
        let error = forget(&keyring, &output, &did(), &endorsed.id).unwrap_err().to_string();
        assert!(error.contains("nothing of"), "{error}");
    }
}
