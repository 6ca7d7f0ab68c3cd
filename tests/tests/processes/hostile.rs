//! Hostile input on the RPC port, and strangers on the p2p port. (Hostile members on the p2p port are tested in the
//! crate `p2p`, and what they may say in `consensus`.)

use std::io::Write;
use std::net::TcpStream;

use client::api::code;
use client::wallet::{self, Terms};
use genesis::{Digest, SecretKey};
use tests::harness::{Cluster, PATIENCE, eventually, memory_kib, post};

/// How much a node may grow while it is abused.
const MAX_GROWTH_KIB: u64 = 128 << 10;

#[tokio::test]
async fn malformed_huge_deep_and_batched_json_gets_an_error_and_the_node_lives() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    let port = cluster.ports(0)[1];
    let before = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    let call = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let batch = format!("[{}]", vec![call("chain_status", "[]"); 100_000].join(","));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no JSON", b"hello".to_vec()),
        ("half an object", br#"{"jsonrpc":"2.0","id":1,"meth"#.to_vec()),
        ("bytes", (0..=255).collect()),
        ("deep", deep.clone().into_bytes()),
        ("deep parameters", call("tx_submit", &deep).into_bytes()),
        ("an unknown method", call("admin_stop", "[]").into_bytes()),
        ("no parameters", call("tx_submit", "[]").into_bytes()),
        ("wrong types", call("tx_wait", r#"[1, "x"]"#).into_bytes()),
        ("named parameters", call("did_resolve", r#"{"did":"x"}"#).into_bytes()),
        ("a negative height", call("chain_block", "[-1]").into_bytes()),
        ("no base64", call("tx_submit", r#"["%%%"]"#).into_bytes()),
        ("no transaction", call("tx_submit", r#"["AAAA"]"#).into_bytes()),
        ("a large transaction", call("tx_submit", &format!(r#"["{}"]"#, "A".repeat(1 << 20))).into_bytes()),
        ("a huge body", vec![b' '; 32 << 20]),
        ("a huge batch", batch.into_bytes()),
    ];
    for (what, body) in bodies {
        let answer = post(port, &body).unwrap_or_default();
        let refused = answer.contains("\"error\"") || answer.starts_with("HTTP/1.1 4") || answer.is_empty();
        assert!(refused && answer.len() < 4_000, "{what}: {}", answer.chars().take(400).collect::<String>());
        assert!(cluster.is_alive(0), "{what} ended the node");
    }
    // A DID that is none does not resolve: a result, with a reason.
    let answer = post(port, call("did_resolve", r#"["did:example:1"]"#).as_bytes()).expect("an answer");
    assert!(answer.contains("didResolutionMetadata") && answer.contains("error"), "{answer}");
    cluster.register(0).await;
    let after = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    assert!(after < before + MAX_GROWTH_KIB, "the node grew from {before} to {after} KiB");
}

#[tokio::test]
async fn a_transaction_for_another_chain_or_with_a_bad_signature_is_refused_by_name() {
    let cluster = Cluster::start(4).await;
    let client = cluster.client(0);
    let status = client.status().await.expect("status");
    let terms = Terms { network: status.network, chain: Digest::ZERO, expires_at: status.height.plus(100) };
    let (_, transaction) = wallet::registration(&terms, &SecretKey::generate());
    let error = client.submit(&genesis::encoding::encode(&transaction)).await.expect_err("another chain");
    let error = error.call().expect("the node's own answer").clone();
    assert_eq!(error.code, code::REFUSED);
    assert!(
        error.message.contains(&Digest::ZERO.to_string())
            && error.message.contains(&status.chain.to_string())
    );

    let terms = Terms { chain: status.chain, ..terms };
    let (_, mut transaction) = wallet::registration(&terms, &SecretKey::generate());
    transaction.signatures[0] = SecretKey::generate().sign(b"something else");
    let error = client.submit(&genesis::encoding::encode(&transaction)).await.expect_err("a bad signature");
    assert!(error.to_string().contains("is not valid"), "{error}");

    let terms = Terms { expires_at: genesis::Height::ZERO, ..terms };
    let (_, transaction) = wallet::registration(&terms, &SecretKey::generate());
    let error = client.submit(&genesis::encoding::encode(&transaction)).await.expect_err("it expired");
    assert!(error.to_string().contains("expires_at is 0"), "{error}");
}

#[tokio::test]
async fn strangers_on_the_p2p_port_are_cut_off_and_the_members_go_on() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    let port = cluster.ports(0)[0];
    let before = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    let noise: Vec<u8> =
        (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut silent = Vec::new();
    for turn in 0..200 {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        match turn % 4 {
            0 => drop(stream.write_all(&noise)),
            1 => drop(stream.write_all(b"\x13/multistream/1.0.0\n\xff\xff\xff\xff")),
            2 => drop(stream.write_all(&[0xff; 70_000])),
            _ => silent.push(stream),
        }
    }
    // Members still get in while strangers sit on the doorstep.
    cluster.kill(1);
    cluster.start_node(1);
    cluster.ready(1).await;
    let (_, receipt) = cluster.register(1).await;
    cluster.reaches(0, receipt.height).await;
    eventually("strangers who say nothing are cut off", async || {
        silent.retain(|stream| {
            let open = stream.set_nonblocking(true).is_ok()
                && stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            // Those who were greeted first are looked at again once that is read away.
            open
        });
        silent.is_empty()
    })
    .await;
    assert!(cluster.is_alive(0));
    let after = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    assert!(after < before + MAX_GROWTH_KIB, "the node grew from {before} to {after} KiB");
    let client = cluster.client(0);
    let (_, id) = cluster.submit(0).await.expect("submitted");
    client.wait(&id, PATIENCE).await.expect("a receipt");
}
