//! Transactions of different people that came at once: each is valid or not by itself, and their signatures are
//! checked in one go.
//!
//! Invariant: what [`UncheckedTransaction::check_all`] says of a transaction is what [`CheckedTransaction::check`] says
//! of it, whatever stands beside it: batch and single verification agree on every input.
//!
//! Left to the caller: to refuse what it refuses anyway before it pays for signatures.

use genesis::{Digest, Genesis, Height, PublicKey};

use super::{CheckedTransaction, Transaction, TransactionError, are_signed, find_unsound};

/// How many transactions are checked in one go. More at once gain nothing, and one forgery among them costs more.
const TOGETHER: usize = 256;
/// In how small parts a forgery is looked for, before one by one. One among 256 then costs a third more than none, and
/// nothing but forgeries four times as much.
const FEW: usize = 16;

/// A transaction that is well-formed and of this chain, and whose signatures and keys are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncheckedTransaction(CheckedTransaction);

impl UncheckedTransaction {
    /// Checks what costs little: chain, limits, form.
    ///
    /// # Errors
    /// Names what is wrong with which value.
    pub fn read(transaction: Transaction, genesis: &Genesis) -> Result<Self, TransactionError> {
        CheckedTransaction::check_form(transaction, genesis).map(Self)
    }

    /// The transaction's id.
    pub const fn id(&self) -> Digest {
        self.0.id
    }

    /// The last height at which it may be ordered.
    pub const fn expires_at(&self) -> Height {
        self.0.transaction.expires_at
    }

    /// The transaction.
    pub const fn transaction(&self) -> &Transaction {
        &self.0.transaction
    }

    /// Checks the signatures of all, and their keys; the answers are in their order.
    pub fn check_all(transactions: Vec<Self>) -> Vec<Result<CheckedTransaction, TransactionError>> {
        let mut forgeries = Vec::with_capacity(transactions.len());
        for together in transactions.chunks(TOGETHER) {
            if are_signed(together.iter().map(|it| &it.0)) {
                forgeries.resize_with(forgeries.len() + together.len(), || None);
                continue;
            }
            for few in together.chunks(FEW) {
                let sound = are_signed(few.iter().map(|it| &it.0));
                let forgery = |it: &Self| if sound { None } else { it.0.check_signatures().err() };
                forgeries.extend(few.iter().map(forgery));
            }
        }
        let signed = transactions.iter().zip(&forgeries).filter(|(_, forgery)| forgery.is_none());
        let are_sound = find_unsound(signed.map(|(it, _)| &it.0)).is_none();
        let unsound = |it: &CheckedTransaction| {
            if are_sound { None } else { it.check_keys(&PublicKey::is_registrable).err() }
        };
        let judged = transactions.into_iter().zip(forgeries).map(|(Self(it), forgery)| {
            let fault = forgery.or_else(|| unsound(&it));
            fault.map_or(Ok(it), Err)
        });
        judged.collect()
    }
}

#[cfg(test)]
mod tests;
