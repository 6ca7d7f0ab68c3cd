//! Calls whose answers a light client checks: the node is asked, and not believed.
//!
//! A client that is more epochs behind than one answer bridges is led on by [`Client::catch_up`] first; whoever uses the
//! calls that take a [`LightClient`] need not see to it.

use genesis::encoding::DecodeError;
use genesis::{Digest, Epoch, UnixMillis};
use jsonrpsee_core::params::ArrayParams;
use ledger::Did;
use ledger::proof::Window;

use super::{Client, RpcError, insert};
use crate::api::{self, ProofWindow, RegistryQuestion, ResolveOptions, from_base64, method};
use crate::light::{
    Answer, EntryAnswer, FateAnswer, LightClient, LightError, Links, RegistryProof, ResolutionProof,
    TransactionProof,
};

/// Why there is no answer that was checked.
#[derive(Debug, thiserror::Error)]
pub enum ProvedError {
    /// The node does not answer, or says no.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The node's answer is not to be believed.
    #[error("the node's answer is not proved: {0}")]
    Light(#[from] LightError),
}

impl From<DecodeError> for ProvedError {
    fn from(error: DecodeError) -> Self {
        Self::Light(error.into())
    }
}

impl Client {
    /// The bytes of a proof of what a DID resolves to, for a client that knows the validators of `since`.
    ///
    /// # Errors
    /// When the node cannot be asked, or has none.
    pub async fn prove(
        &self,
        did: &str,
        options: &ResolveOptions,
        since: Epoch,
    ) -> Result<Vec<u8>, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, did)?;
        insert(&mut params, options)?;
        insert(&mut params, since)?;
        let proof: api::Proof = self.request(method::DID_PROVE, params).await?;
        self.bytes(&proof.proof)
    }

    /// The bytes of a proof of what became of a transaction, for a client that knows the validators of `since`. With `window`
    /// also that it expired without a receipt is proved.
    ///
    /// # Errors
    /// When the node cannot be asked, or has none.
    pub async fn prove_transaction(
        &self,
        id: &Digest,
        window: Option<Window>,
        since: Epoch,
    ) -> Result<Vec<u8>, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, id)?;
        insert(&mut params, window.map(ProofWindow::from))?;
        insert(&mut params, since)?;
        let proof: api::TransactionProof = self.request(method::TX_PROVE, params).await?;
        self.bytes(&proof.proof)
    }

    /// The bytes of a proof of what the trust registry holds, for a client that knows the validators of `since`.
    ///
    /// # Errors
    /// When the node cannot be asked, or has none.
    pub async fn prove_entry(&self, question: &RegistryQuestion, since: Epoch) -> Result<Vec<u8>, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, question)?;
        insert(&mut params, since)?;
        let proof: api::RegistryProof = self.request(method::REGISTRY_PROVE, params).await?;
        self.bytes(&proof.proof)
    }

    /// The changes of the validators since the epoch `since`, as many as fit into one answer, and whether there are more.
    ///
    /// # Errors
    /// When the node cannot be asked, or lost one.
    pub async fn links(&self, since: Epoch) -> Result<(Vec<u8>, bool), RpcError> {
        let links: api::Links = self.call(method::CHAIN_LINKS, &[since]).await?;
        Ok((self.bytes(&links.links)?, links.more_links))
    }

    /// Leads a light client through all changes of the validators that the node knows of.
    ///
    /// # Errors
    /// When the node cannot be asked, or brings a change that is not to be believed.
    pub async fn catch_up(&self, light: &mut LightClient) -> Result<(), ProvedError> {
        loop {
            let before = light.pin().epoch();
            let (bytes, more) = self.links(before).await?;
            light.advance(Links::decode(&bytes)?)?;
            if !more || light.pin().epoch() == before {
                return Ok(());
            }
        }
    }

    /// Resolves a DID, proved. `now` is this machine's clock.
    ///
    /// # Errors
    /// When the node cannot be asked, or its answer is not to be believed.
    pub async fn resolve_proved(
        &self,
        light: &mut LightClient,
        did: &Did,
        options: &ResolveOptions,
        now: UnixMillis,
    ) -> Result<Answer, ProvedError> {
        let (text, read) = (did.to_string(), options.clone().into());
        self.believed(
            light,
            async |since| self.prove(&text, options, since).await,
            |light, bytes| light.resolve(did, &read, ResolutionProof::decode(bytes)?, now),
        )
        .await
    }

    /// What became of a transaction, proved; see [`LightClient::receipt`]. `now` is this machine's clock.
    ///
    /// # Errors
    /// When the node cannot be asked, cannot tell yet, or its answer is not to be believed.
    pub async fn fate_proved(
        &self,
        light: &mut LightClient,
        id: &Digest,
        window: Option<Window>,
        now: UnixMillis,
    ) -> Result<FateAnswer, ProvedError> {
        self.believed(
            light,
            async |since| self.prove_transaction(id, window, since).await,
            |light, bytes| light.receipt(id, window, TransactionProof::decode(bytes)?, now),
        )
        .await
    }

    /// What the trust registry holds, proved. `now` is this machine's clock.
    ///
    /// # Errors
    /// When the node cannot be asked, or its answer is not to be believed.
    pub async fn entry_proved(
        &self,
        light: &mut LightClient,
        question: &RegistryQuestion,
        now: UnixMillis,
    ) -> Result<EntryAnswer, ProvedError> {
        self.believed(
            light,
            async |since| self.prove_entry(question, since).await,
            |light, bytes| light.registry(&question.key(), RegistryProof::decode(bytes)?, now),
        )
        .await
    }

    /// What `check` makes of the proof that `ask` gets. Where that leads to an epoch before its own, the client is led on
    /// first.
    async fn believed<A>(
        &self,
        light: &mut LightClient,
        ask: impl AsyncFn(Epoch) -> Result<Vec<u8>, RpcError>,
        check: impl Fn(&mut LightClient, &[u8]) -> Result<A, LightError>,
    ) -> Result<A, ProvedError> {
        let bytes = ask(light.pin().epoch()).await?;
        match check(light, &bytes) {
            Err(LightError::OtherEpoch { found, expected }) if found > expected => {}
            checked => return Ok(checked?),
        }
        self.catch_up(light).await?;
        let bytes = ask(light.pin().epoch()).await?;
        Ok(check(light, &bytes)?)
    }

    fn bytes(&self, text: &str) -> Result<Vec<u8>, RpcError> {
        from_base64(text).map_err(|error| self.answer(format!("bad base64: {error}")))
    }
}
