//! Governance: the validators' own transactions, among those of the clients.

use genesis::Digest;
use ledger::operation::sign_ready;
use ledger::{Change, GovernanceVote, Operation, Propose};

use super::{World, key, validator};

impl World {
    /// That `member` joins, with its word that it is ready.
    pub fn joining(&self, member: usize) -> Change {
        let validator = validator(member);
        let ready = sign_ready(&self.genesis.chain(), &validator, &key(1, member));
        Change::AddValidator { validator, ready }
    }

    /// That `member` leaves.
    pub fn leaving(&self, member: usize) -> Change {
        Change::RemoveValidator { name: validator(member).name }
    }

    /// That `next` takes the place of `member`: as if it had got other keys, which lie on another machine.
    pub fn replacing(&self, member: usize, next: usize) -> Change {
        let name = validator(member).name;
        let validator = validator(next);
        let ready = sign_ready(&self.genesis.chain(), &validator, &key(1, next));
        Change::ReplaceValidator { name, validator, ready }
    }

    /// Has `item` stand for the proposal of `change` by one of `voters`, with the approvals of all of them. In one item,
    /// so that their order is that of the list.
    pub fn decide(&mut self, item: Digest, change: Change, voters: &[usize]) {
        let Some((first, others)) = voters.split_first() else { return };
        let propose = Operation::Propose(Box::new(Propose { change }));
        let proposal = self.contents.sign(propose, &key(3, *first));
        let id = proposal.id();
        let votes = others.iter().map(|voter| {
            let vote = Operation::Vote(GovernanceVote { proposal: id, approve: true });
            self.contents.sign(vote, &key(3, *voter))
        });
        let transactions: Vec<_> = std::iter::once(proposal.clone()).chain(votes).collect();
        self.contents.put(item, transactions);
    }
}
