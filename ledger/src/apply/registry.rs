//! The part of the fold that reads and changes the trust registry: what governance decides about it, and what registrars
//! and issuers do.
//!
//! A registrar or issuer acts by an `assertionMethod` key of its current document, while its accreditation holds.

use genesis::PublicKey;

use super::{Effect, Fold, StateView};
use crate::operation::{CreateMany, Endorse, PublishSchema, PublishStatusList, WithdrawEndorsement};
use crate::record::{Endorsement, Withdrawal};
use crate::registry::{
    Accreditation, RegistryEntry, RegistryKey, Role, Schema, Status, StatusList, StatusPurpose,
};
use crate::{Change, Code, DidId, ItemReceipt, Record, Version};

impl<V: StateView> Fold<'_, V> {
    fn entry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, V::Error> {
        match self.registry.get(key) {
            Some(entry) => Ok(Some(entry.clone())),
            None => self.view.registry(key),
        }
    }

    fn put(&mut self, entry: RegistryEntry) {
        self.registry.insert(entry.key(), entry);
    }

    fn accreditation(&self, did: DidId, role: Role) -> Result<Option<Accreditation>, V::Error> {
        Ok(match self.entry(&RegistryKey::Accreditation(did, role))? {
            Some(RegistryEntry::Accreditation(accreditation)) => Some(accreditation),
            Some(_) | None => None,
        })
    }

    /// Whether the registry accredits `did` now, as anything.
    pub(super) fn is_accredited(&self, did: DidId) -> Result<bool, V::Error> {
        for role in [Role::Registrar, Role::Issuer] {
            let accreditation = self.accreditation(did, role)?;
            if accreditation.is_some_and(|it| it.check(self.now.time).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The accreditation by which `signers` act for `did`; `despite` says which refusal does not matter.
    fn authority(
        &self,
        did: DidId,
        role: Role,
        signers: &[PublicKey],
        despite: Option<Code>,
    ) -> Result<Result<Accreditation, Code>, V::Error> {
        let Some(accreditation) = self.accreditation(did, role)? else { return Ok(Err(Code::NotAccredited)) };
        if let Err(code) = accreditation.check(self.now.time)
            && Some(code) != despite
        {
            return Ok(Err(code));
        }
        let record = self.record(&did)?;
        let document = record.as_ref().and_then(|record| record.document.as_ref());
        let acts = document.is_some_and(|document| document.is_asserted_by(signers));
        Ok(if acts { Ok(accreditation) } else { Err(Code::Unauthorised) })
    }

    /// The endorsement by `registrar` that comes with a registration.
    pub(super) fn registering(
        &self,
        registrar: DidId,
        signers: &[PublicKey],
    ) -> Result<Result<(Accreditation, Endorsement), Code>, V::Error> {
        let authority = self.authority(registrar, Role::Registrar, signers, None)?;
        let endorsement = Endorsement { registrar, at: self.now, withdrawn: None };
        Ok(authority.and_then(|accreditation| {
            if accreditation.is_used_up() {
                Err(Code::QuotaExceeded)
            } else {
                Ok((accreditation, endorsement))
            }
        }))
    }

    /// One more registration by this registrar.
    pub(super) fn registered(&mut self, mut accreditation: Accreditation) {
        accreditation.registrations += 1;
        self.put(RegistryEntry::Accreditation(accreditation));
    }

    pub(super) fn create_many(
        &mut self,
        create: &CreateMany,
        ids: &[DidId],
        signers: &[PublicKey],
    ) -> Result<Effect, V::Error> {
        // Who is no registrar learns so once, for all items. None of them changes who it is: it is registered, and they are not.
        let mut accreditation = match self.authority(create.registrar, Role::Registrar, signers, None)? {
            Ok(accreditation) => accreditation,
            Err(code) => return Ok(Effect::none(Err(code))),
        };
        let before = accreditation.registrations;
        let endorsement = Endorsement { registrar: create.registrar, at: self.now, withdrawn: None };
        let mut items = Vec::with_capacity(create.items.len());
        for (item, did) in create.items.iter().zip(ids.iter().copied()) {
            let code = if accreditation.is_used_up() {
                Code::QuotaExceeded
            } else {
                let commitments = item.commitments();
                let first =
                    |now| Record::first(did, item.document.clone(), commitments, Some(endorsement), now);
                // Its owner's key has signed for it: that was checked with the signatures.
                match self.register(did, signers, &item.document, first)? {
                    Err(code) => code,
                    Ok(()) => {
                        accreditation.registrations += 1;
                        Code::Applied
                    }
                }
            };
            items.push(ItemReceipt { did, code });
        }
        if accreditation.registrations > before {
            self.put(RegistryEntry::Accreditation(accreditation));
        }
        Ok(Effect { did: None, made: Ok(None), items })
    }

    pub(super) fn endorse(&mut self, endorse: &Endorse, signers: &[PublicKey]) -> Result<Effect, V::Error> {
        let (did, registrar) = (endorse.did, endorse.registrar);
        if let Err(code) = self.authority(registrar, Role::Registrar, signers, None)? {
            return Ok(Effect::of(did, Err(code)));
        }
        let endorsement = Endorsement { registrar, at: self.now, withdrawn: None };
        self.mark(did, |record| match record.header.endorsement {
            _ if record.is_deactivated() => Err(Code::Deactivated),
            Some(Endorsement { withdrawn: None, .. }) => Err(Code::AlreadyEndorsed),
            Some(_) | None => Ok(endorsement),
        })
    }

    pub(super) fn withdraw_endorsement(
        &mut self,
        withdraw: &WithdrawEndorsement,
        signers: &[PublicKey],
    ) -> Result<Effect, V::Error> {
        let (did, registrar, reason) = (withdraw.did, withdraw.registrar, withdraw.reason);
        if let Err(code) = self.authority(registrar, Role::Registrar, signers, None)? {
            return Ok(Effect::of(did, Err(code)));
        }
        let withdrawn = Some(Withdrawal { reason, at: self.now });
        self.mark(did, |record| match record.header.endorsement {
            Some(endorsement) if endorsement.registrar == registrar && endorsement.withdrawn.is_none() => {
                Ok(Endorsement { withdrawn, ..endorsement })
            }
            Some(_) | None => Err(Code::NotEndorsed),
        })
    }

    /// Replaces the current header of `did` in place, with the endorsement that `rule` makes.
    fn mark(
        &mut self,
        did: DidId,
        rule: impl FnOnce(&Record) -> Result<Endorsement, Code>,
    ) -> Result<Effect, V::Error> {
        let Some(record) = self.record(&did)? else { return Ok(Effect::of(did, Err(Code::NoSuchDid))) };
        let endorsement = match rule(&record) {
            Ok(endorsement) => endorsement,
            Err(code) => return Ok(Effect::of(did, Err(code))),
        };
        let mut record = record.into_owned();
        record.header.endorsement = Some(endorsement);
        match self.newest.get(&did) {
            Some(place) => self.records[*place] = record,
            None => {
                self.newest.insert(did, self.records.len());
                self.records.push(record);
            }
        }
        Ok(Effect::of(did, Ok(None)))
    }

    pub(super) fn publish_schema(
        &mut self,
        publish: &PublishSchema,
        signers: &[PublicKey],
    ) -> Result<Effect, V::Error> {
        let PublishSchema { issuer, number, version, digest, uri } = publish.clone();
        if let Err(code) = self.authority(issuer, Role::Issuer, signers, None)? {
            return Ok(Effect::of(issuer, Err(code)));
        }
        let last = match self.entry(&RegistryKey::Schema(issuer, number))? {
            Some(RegistryEntry::Schema(schema)) => schema.version,
            Some(_) | None => Version(0),
        };
        if version != last.next() {
            return Ok(Effect::of(issuer, Err(Code::VersionMismatch)));
        }
        self.put(RegistryEntry::Schema(Schema { issuer, number, version, digest, uri, at: self.now }));
        Ok(Effect::of(issuer, Ok(None)))
    }

    pub(super) fn publish_status_list(
        &mut self,
        publish: &PublishStatusList,
        signers: &[PublicKey],
    ) -> Result<Effect, V::Error> {
        let PublishStatusList { issuer, number, version, purpose, digest, uri } = publish.clone();
        // To take credentials back stays possible for who may issue none for the time being.
        let despite = purpose.takes_back().then_some(Code::AccreditationSuspended);
        if let Err(code) = self.authority(issuer, Role::Issuer, signers, despite)? {
            return Ok(Effect::of(issuer, Err(code)));
        }
        let (last, before): (Version, Option<StatusPurpose>) =
            match self.entry(&RegistryKey::StatusList(issuer, number))? {
                Some(RegistryEntry::StatusList(list)) => (list.version, Some(list.purpose)),
                Some(_) | None => (Version(0), None),
            };
        if version != last.next() {
            return Ok(Effect::of(issuer, Err(Code::VersionMismatch)));
        }
        if before.is_some_and(|before| before != purpose) {
            return Ok(Effect::of(issuer, Err(Code::OtherPurpose)));
        }
        let list = StatusList { issuer, number, version, purpose, digest, uri, at: self.now };
        self.put(RegistryEntry::StatusList(list));
        Ok(Effect::of(issuer, Ok(None)))
    }

    /// The entry that a decided `change` makes; none where the change is not about the registry.
    pub(super) fn granted(&self, change: &Change) -> Result<Option<Result<RegistryEntry, Code>>, V::Error> {
        let (did, role) = match change {
            Change::Accredit(grant) => {
                let before = self.accreditation(grant.did, grant.role)?;
                let entry = grant.accreditation(before.as_ref(), self.now);
                return Ok(Some(Ok(RegistryEntry::Accreditation(entry))));
            }
            Change::Suspend { did, role }
            | Change::Reinstate { did, role }
            | Change::WithdrawAccreditation { did, role } => (*did, *role),
            _ => return Ok(None),
        };
        let before = self.accreditation(did, role)?;
        let status = match (change, before.as_ref().map(|before| before.status)) {
            (Change::Suspend { .. }, Some(Status::Active)) => Some(Status::Suspended),
            (Change::Reinstate { .. }, Some(Status::Suspended)) => Some(Status::Active),
            (Change::WithdrawAccreditation { .. }, Some(Status::Active | Status::Suspended)) => {
                Some(Status::Withdrawn)
            }
            _ => None,
        };
        let entry =
            before.zip(status).map(|(before, status)| Accreditation { status, at: self.now, ..before });
        Ok(Some(entry.map(RegistryEntry::Accreditation).ok_or(Code::ChangeNoLongerFits)))
    }

    pub(super) fn grant(&mut self, entry: RegistryEntry) {
        self.put(entry);
    }
}

#[cfg(test)]
mod tests;
