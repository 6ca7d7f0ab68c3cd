//! Kinds that send what their replica says, but not to all, not in time, or again.

use std::time::Duration;

use super::{Adversary, Content, Kind, PAUSE, Parcel, Scene};

/// For how long those who are left out stay the same, and for how long one that is silent beside other things says
/// nothing.
const WINDOW: Duration = Duration::from_secs(2);

impl Adversary {
    /// The last kinds to act, on all that goes out.
    pub(super) fn send_badly(&mut self, scene: &Scene, parcels: &mut Vec<Parcel>) {
        self.replay(scene, parcels);
        let window = (scene.now.as_millis() / WINDOW.as_millis()) as usize;
        let (is_silent, alone) = (self.is(Kind::Silent), self.kinds.len() == 1);
        if is_silent && (alone || window.is_multiple_of(2)) {
            for _ in parcels.drain(..) {
                self.deeds.count(Kind::Silent);
            }
        }
        if self.is(Kind::SelectiveSender) {
            let me = usize::from(self.me.0);
            let deeds = &mut self.deeds;
            parcels.retain(|parcel| {
                // About half, others in each window.
                let shunned = (parcel.to.0 * 7 + window * 5 + me * 3 + (window * parcel.to.0) / 3) % 4 < 2;
                if shunned {
                    deeds.count(Kind::SelectiveSender);
                }
                !shunned
            });
        }
        if self.is(Kind::LateSender) {
            for parcel in parcels {
                parcel.after += self.chance.duration((Duration::ZERO, self.delta * 6));
                self.deeds.count(Kind::LateSender);
            }
        }
    }

    fn replay(&mut self, scene: &Scene, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::Replayer) || scene.now < self.busy_until {
            return;
        }
        self.busy_until = scene.now + PAUSE;
        for _ in 0..self.chance.between(1, 6) {
            let place = self.chance.below(self.memory.len() as u64) as usize;
            let Some(message) = self.memory.get(place).cloned() else { return };
            let Some(to) = self.somebody(scene) else { return };
            parcels.push(Parcel::now(to, Content::Message(message)));
            self.deeds.count(Kind::Replayer);
        }
    }
}
