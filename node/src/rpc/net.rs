//! `net_…`: the peers.

use client::api::Peer;

use super::Api;

pub(super) fn peers(api: &Api) -> Vec<Peer> {
    let (members, skews) = (api.membership.now(), api.clocks.now());
    let peers = api.network.peers().into_iter().map(|peer| {
        let index = members.by_network_key(&peer.key);
        Peer {
            name: index.map_or_else(|| peer.key.to_string(), |index| members.name(index)),
            key: peer.key,
            address: peer
                .address
                .or_else(|| peer.link.map(|link| link.address.to_string()))
                .unwrap_or_else(|| "unknown".to_owned()),
            connected: peer.link.is_some(),
            validator: peer.role == p2p::Role::Validator,
            round_trip_ms: peer.link.and_then(|link| link.round_trip).map(|time| time.as_millis() as u64),
            clock_skew_ms: skews.get(&peer.key).copied(),
            queued_frames: (peer.votes.queued_frames + peer.batches.queued_frames) as u64,
            dropped_frames: peer.votes.drops.queue_full + peer.batches.drops.queue_full,
        }
    });
    peers.collect()
}
