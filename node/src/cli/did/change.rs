//! One change of a DID, from the keyring to its receipt.

use std::time::{Duration, Instant};

use client::api::{Busy, Fate, Receipt, code};
use client::keyring::Pending;
use client::wallet::{self, Terms};
use client::{Client, Keyring, RpcError};
use ledger::{Code, Did, Operation};

use crate::cli::output::Output;
use crate::cli::{Ending, no_receipt};

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
        let renewed = match self.client.fate(&pending.id).await? {
            Fate::Expired { height, .. } | Fate::Unknown { height, .. } if height >= pending.expires_at() => {
                if matches!(pending.transaction.operation, Operation::CreateMany(_)) {
                    self.keyring.settle(self.did, &pending.id)?;
                    let problem = "the owners' requests were for that expiry: ask them for new ones";
                    let id = pending.id;
                    return Err(Ending::NotApplied(format!("transaction {id} is expired: {problem}")).into());
                }
                let registrar =
                    entry.co_signer().map(|registrar| self.keyring.read(&registrar)).transpose()?;
                let renewed = wallet::renew(terms, &entry, registrar.as_ref(), pending)?;
                self.keyring.renew(self.did, &pending.id, renewed.clone())?;
                Some(renewed)
            }
            _ => None,
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

    async fn unfinished(&self, pending: &Pending, error: RpcError) -> anyhow::Error {
        let refused = error.call().is_some_and(|error| matches!(error.code, code::REFUSED | code::MALFORMED));
        if refused {
            return match self.keyring.settle(self.did, &pending.id) {
                Ok(()) => error.into(),
                Err(problem) => problem.into(),
            };
        }
        let did = self.did;
        if error.call().is_some_and(|error| error.code == code::EXPIRED) {
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
