//! Votes, by the commands that operators use, and what nodes tell of them and of one another.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use client::wallet::{self, Terms};
use genesis::{Height, SecretKey};
use ledger::document::{Service, ServiceKind};
use ledger::{Did, Operation, Transaction};
use serde_json::{Value, json};

use super::{Cluster, PATIENCE, eventually, post, printed, realdid};

impl Cluster {
    /// Calls a method of a node's RPC.
    ///
    /// # Errors
    /// What the node answers instead, or that it answers nothing.
    pub fn call(&self, node: usize, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = post(self.ports(node)[1], body.as_bytes()).ok_or(Value::Null)?;
        let text = answer.split_once("\r\n\r\n").ok_or(Value::Null)?.1;
        let mut answer: Value = serde_json::from_str(text).map_err(|_| Value::Null)?;
        let result = answer["result"].take();
        if result.is_null() { Err(answer["error"].take()) } else { Ok(result) }
    }

    /// What a node has seen of contradictions.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn evidence(&self, node: usize) -> Vec<Value> {
        let answer = self.call(node, "chain_evidence", &json!([])).expect("evidence");
        answer.as_array().expect("a list").clone()
    }

    /// Ends the test where one of these nodes accuses anybody.
    ///
    /// # Panics
    /// When one does, or does not answer.
    pub fn assert_no_evidence(&self, nodes: impl IntoIterator<Item = usize>) {
        for node in nodes {
            assert_eq!(self.evidence(node), Vec::<Value>::new(), "what node {node} has seen");
        }
    }

    /// What a node calls its own standing.
    pub async fn standing(&self, node: usize) -> String {
        self.client(node).status().await.map(|status| status.standing).unwrap_or_default()
    }

    /// Waits until a node says that it votes.
    pub async fn votes(&self, node: usize) {
        eventually(&format!("node {node} votes"), async || self.standing(node).await == "voting").await;
    }

    /// Runs `realdid gov …` with a node's governance key through another node; what it printed as JSON.
    ///
    /// # Errors
    /// What it printed, where it failed.
    pub fn gov(&self, by: &Path, through: usize, arguments: &[&str]) -> Result<Value, String> {
        let (url, key) = (self.url(through), by.to_str().expect("a path in UTF-8"));
        let common = ["--json", "--rpc", &url, "--key", key];
        let output = realdid(&[&["gov"], arguments, &common].concat());
        if !output.status.success() {
            return Err(printed(&output));
        }
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// A node's governance key.
    pub fn governance_key(&self, node: usize) -> PathBuf {
        self.home(node).join("keys/governance.json")
    }

    /// Has the first of these validators propose a change and the others approve it, each through itself. Done once it is
    /// decided; the epoch ends shortly after.
    ///
    /// # Panics
    /// When a command fails.
    pub fn decide(&self, voters: &[usize], change: &[&str]) {
        let (proposer, others) = voters.split_first().expect("somebody proposes");
        let arguments = [&["propose"], change].concat();
        let receipt =
            self.gov(&self.governance_key(*proposer), *proposer, &arguments).expect("a proposal that stands");
        let id = receipt["id"].as_str().expect("an id").to_owned();
        for voter in others {
            self.gov(&self.governance_key(*voter), *voter, &["vote", &id, "--approve"])
                .expect("a vote that counts");
        }
    }

    /// Registers a DID with a service at `endpoint`, which these validators accredit first, as no other may have one.
    ///
    /// # Panics
    /// When a vote or the registration fails.
    pub async fn accredited(&self, voters: &[usize], role: &str, endpoint: &str) -> Did {
        let client = self.client(voters[0]);
        let (terms, key) = (Terms::of(&client.status().await.expect("status")), SecretKey::generate());
        let (_, transaction) = wallet::registration(&terms, &key);
        let Operation::Create(mut create) = transaction.operation else { panic!("a registration creates") };
        let endpoint = endpoint.to_owned().try_into().expect("an address");
        let number = NonZeroU16::MIN;
        create.document.services.push(Service { number, kind: ServiceKind::LinkedDomains, endpoint });
        let did = Did::new(&terms.network, create.did());
        self.decide(voters, &["accredit", &did.to_string(), "--role", role]);
        let signed = Transaction::sign(terms.chain, Operation::Create(create), terms.expires_at, &[&key]);
        client.submit(&genesis::encoding::encode(&signed)).await.expect("submitted");
        let receipt = client.wait(&signed.id(), PATIENCE).await.expect("a receipt");
        assert!(receipt.is_applied(), "{receipt:?}");
        did
    }

    /// Has a node sign that it is ready to validate under a name; the file.
    ///
    /// # Panics
    /// When that fails.
    pub fn readiness(&self, home: &Path, name: &str, address: &str) -> PathBuf {
        let file = self.scratch().join(format!("{name}-{}.ready", address.replace(':', "-")));
        let [home, out] = [home, &file].map(|path| path.to_str().expect("a path in UTF-8"));
        let arguments = ["gov", "ready", "--home", home, "--name", name, "--address", address, "--out", out];
        let output = realdid(&arguments);
        assert!(output.status.success(), "{}", printed(&output));
        file
    }

    /// Waits until these nodes are in an epoch; the height that all of them say it began at.
    ///
    /// # Panics
    /// When they say different things.
    pub async fn begins(&self, nodes: &[usize], epoch: u64) -> Height {
        let mut told: Option<Value> = None;
        for node in nodes {
            let mut answer = Value::Null;
            eventually(&format!("node {node} is in epoch {epoch}"), async || {
                let status = self.client(*node).status().await;
                let validators = self.call(*node, "chain_validators", &json!([epoch]));
                answer = validators.unwrap_or_default();
                status.is_ok_and(|status| status.epoch.0 >= epoch) && !answer.is_null()
            })
            .await;
            let told = told.get_or_insert_with(|| answer.clone());
            assert_eq!(*told, answer, "what node {node} says of epoch {epoch}");
        }
        Height(told.expect("a node")["began"].as_u64().expect("a height"))
    }
}
