//! Many transactions in one call: each has its own answer, a node that is full says so, and what it took is not lost.

use std::collections::HashSet;
use std::time::Duration;

use client::Client;
use client::api::{Busy, Waited, code, encode_batch, to_base64};
use client::wallet::{self, Terms};
use genesis::encoding::encode;
use genesis::{Digest, Height, SecretKey};
use ledger::Transaction;
use serde_json::{Value, json};
use tests::harness::{Cluster, PATIENCE, post, send};

async fn terms(client: &Client) -> Terms {
    let status = client.status().await.expect("status");
    Terms { network: status.network, chain: status.chain, expires_at: status.height.plus(500) }
}

fn signed(terms: &Terms) -> Transaction {
    wallet::registration(terms, &SecretKey::generate()).1
}

/// Waits until all of `ids` have a receipt.
async fn all_applied(client: &Client, ids: impl IntoIterator<Item = Digest>) {
    let mut open: HashSet<Digest> = ids.into_iter().collect();
    let end = std::time::Instant::now() + PATIENCE;
    while !open.is_empty() {
        assert!(std::time::Instant::now() < end, "{} have no receipt", open.len());
        let asked: Vec<_> = open.iter().copied().take(2_000).collect();
        let Waited { receipts, expired, .. } =
            client.wait_batch(&asked, Duration::from_secs(2)).await.expect("waited");
        assert_eq!(expired, []);
        for receipt in receipts {
            assert!(receipt.is_applied() && open.remove(&receipt.id), "{receipt:?}");
        }
    }
}

/// The answer to a POST of bytes to where lists are taken: its status line and body.
fn taken(port: u16, content_type: &str, body: &[u8]) -> (String, String) {
    let head = format!(
        "POST /tx/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = send(port, &[head.as_bytes(), body].concat()).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_transaction_of_a_mixed_list_has_the_answer_that_it_has_alone_and_the_good_ones_are_ordered() {
    let cluster = Cluster::start(4).await;
    let client = cluster.client(0);
    let terms = terms(&client).await;
    let (first, second) = (signed(&terms), signed(&terms));
    let mut forged = signed(&terms);
    forged.signatures[0] = SecretKey::generate().sign(b"something else");
    let expired = signed(&Terms { expires_at: Height::ZERO, ..terms.clone() });
    let elsewhere = signed(&Terms { chain: Digest::ZERO, ..terms.clone() });
    let mut list: Vec<Vec<u8>> =
        [&first, &forged, &expired, &elsewhere, &first, &second].into_iter().map(encode).collect();
    list.extend([b"no transaction".to_vec(), Vec::new(), vec![0; 20_000]]);

    let together = client.submit_batch(&list).await.expect("answers");
    let codes: Vec<_> = together.iter().map(|answer| answer.as_ref().err().map(|error| error.code)).collect();
    let (refused, malformed) = (Some(code::REFUSED), Some(code::MALFORMED));
    let expected = [None, refused, refused, refused, None, None, malformed, malformed, malformed];
    assert_eq!(codes, expected, "{together:?}");
    for (transaction, together) in list.iter().zip(&together) {
        let alone = client.submit(transaction).await;
        match together {
            Ok(submitted) => assert_eq!(alone.expect("taken"), *submitted),
            // It names the node's height, which goes on.
            Err(error) if error.message.contains("the next block is") => {
                let alone = alone.expect_err("refused").call().cloned().expect("the node's answer");
                assert_eq!((alone.code, alone.data), (error.code, error.data.clone()));
            }
            Err(error) => assert_eq!(alone.expect_err("refused").call(), Some(error)),
        }
    }
    all_applied(&client, [first.id(), second.id()]).await;
    // Another node knows of them too, and handing them in once more does no harm.
    all_applied(&cluster.client(3), [first.id(), second.id()]).await;
    let again = client.submit_batch(&list).await.expect("answers");
    let codes: Vec<_> = again.iter().map(|answer| answer.as_ref().err().map(|error| error.code)).collect();
    assert_eq!(codes, expected);

    // The same for who has JSON alone; what is no base64 spoils no other.
    let mut texts: Vec<_> = list.iter().map(|bytes| to_base64(bytes)).collect();
    texts.push("%".into());
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tx_submitBatch", "params": [texts] }).to_string();
    let answer = post(cluster.ports(0)[1], body.as_bytes()).expect("an answer");
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let outcomes = answer["result"].as_array().expect("a list");
    let codes: Vec<_> = outcomes.iter().map(|it| it["error"]["code"].as_i64()).collect();
    let expected: Vec<_> = expected.into_iter().chain([malformed]).map(|code| code.map(i64::from)).collect();
    assert_eq!(codes, expected, "{answer}");
    assert_eq!(outcomes[0]["result"]["id"], json!(first.id()));
    assert_eq!(outcomes[2]["error"]["data"]["field"], "expiresAt");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_or_is_too_long_is_refused_with_the_limit() {
    let cluster = Cluster::start(1).await;
    let (port, bytes) = (cluster.ports(0)[1], "application/octet-stream");
    let list = encode_batch(&[vec![1; 50], vec![2; 50]]);
    for (content_type, body, status, words) in [
        ("application/json", &list[..], "415", "content-type: application/octet-stream"),
        (bytes, &list[..100], "400", "ends within transaction 1 of 2"),
        (bytes, &[list.as_slice(), &[0]].concat(), "400", "1 bytes too many"),
        (bytes, &encode_batch(&[[]; 2_001]), "400", "at most 2000 are taken at once (max_batch)"),
        (bytes, &vec![0; (4 << 20) + 1], "413", "at most 4194304 bytes"),
    ] {
        let (line, body) = taken(port, content_type, body);
        assert!(line.contains(status) && body.contains(words), "{status}: {line} {body}");
    }
    let (line, body) = taken(port, bytes, &encode_batch(&[[]; 0]));
    assert!(line.contains("200") && body == "[]", "{line} {body}");
    let error =
        cluster.client(0).wait_batch(&vec![Digest::ZERO; 2_001], PATIENCE).await.expect_err("too many");
    assert!(error.to_string().contains("max_batch"), "{error}");
    // Nothing ends when nothing was handed in.
    let waited =
        cluster.client(0).wait_batch(&[Digest::ZERO], Duration::from_millis(50)).await.expect("waited");
    assert!(waited.receipts.is_empty() && waited.expired.is_empty(), "{waited:?}");
}

#[tokio::test]
async fn a_full_node_says_busy_with_a_time_and_what_it_took_and_takes_later_is_all_ordered() {
    let mut cluster = Cluster::prepare(4);
    let path = cluster.home(0).join("config.toml");
    let text = std::fs::read_to_string(&path).expect("settings");
    assert!(text.contains("max_bytes = 67108864"));
    std::fs::write(&path, text.replace("max_bytes = 67108864", "max_bytes = 1048576")).expect("written");
    cluster.start_all_ready().await;
    let client = cluster.client(0);
    let terms = terms(&client).await;
    let list: Vec<_> = (0..4_000).map(|_| signed(&terms)).map(|it| (it.id(), encode(&it))).collect();
    // Without a quorum nothing is ordered, so nothing makes room.
    cluster.pause(2);
    cluster.pause(3);
    let (mut left, mut taken, mut refused) = (list.clone(), HashSet::new(), 0);
    let end = std::time::Instant::now() + PATIENCE;
    while !left.is_empty() {
        assert!(std::time::Instant::now() < end, "{} are still refused", left.len());
        let (mut next, mut wait) = (Vec::new(), Duration::ZERO);
        for chunk in left.chunks(2_000) {
            let bytes: Vec<_> = chunk.iter().map(|(_, bytes)| bytes).collect();
            for (transaction, answer) in chunk.iter().zip(client.submit_batch(&bytes).await.expect("answers"))
            {
                match answer {
                    Ok(submitted) => assert!(submitted.id == transaction.0 && taken.insert(submitted.id)),
                    Err(error) => {
                        assert_eq!(error.code, code::BUSY, "{error}");
                        let busy: Busy = serde_json::from_value(error.data.expect("a time")).expect("a time");
                        wait = wait.max(Duration::from_millis(busy.retry_after_ms));
                        refused += 1;
                        next.push(transaction.clone());
                    }
                }
            }
        }
        if refused > 0 && taken.len() < list.len() {
            assert!(!wait.is_zero());
            let filled: usize = list.iter().filter(|it| taken.contains(&it.0)).map(|it| it.1.len()).sum();
            assert!(filled > 1 << 19, "it took {filled} bytes and no more");
            cluster.resume(2);
            cluster.resume(3);
        }
        tokio::time::sleep(wait).await;
        left = next;
    }
    assert!(refused > 0);
    all_applied(&client, list.iter().map(|(id, _)| *id)).await;
}
