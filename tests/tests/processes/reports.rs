//! What operators look at by commands: `realdid status`, `report` and `top`.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::harness::process::signal;
use tests::harness::{Cluster, PATIENCE, binary, eventually, printed, realdid};

fn json(arguments: &[&str]) -> Value {
    let output = realdid(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", printed(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn a_report_shows_who_led_who_was_away_and_whose_batches_there_are() {
    let mut cluster = Cluster::start(4).await;
    for turn in 0..12 {
        cluster.register(turn % 2).await;
    }
    let all_there = cluster.client(0).status().await.expect("status").height;
    cluster.kill(3);
    for _ in 0..12 {
        cluster.register(2).await;
    }
    let newest = cluster.client(2).status().await.expect("status").height;
    cluster.reaches(0, newest).await;
    let report = |from: u64, to: u64| {
        json(&["report", "--rpc", &cluster.url(0), "--from", &from.to_string(), "--to", &to.to_string()])
    };
    let count = |report: &Value, name: &str, field: &str| {
        let validators = report["validators"].as_array().expect("validators");
        let share = validators.iter().find(|share| share["name"] == name).expect("a share");
        share[field].as_u64().expect("a count")
    };
    let sum = |report: &Value, field: &str| {
        (0..4).map(|node| count(report, &format!("node{node}"), field)).sum::<u64>()
    };
    let whole = report(1, newest.0);
    assert_eq!(whole["blocks"], newest.0);
    assert_eq!(sum(&whole, "led"), newest.0);
    assert_eq!(sum(&whole, "transactions"), 24);
    let transactions = [0, 1, 2, 3].map(|node| count(&whole, &format!("node{node}"), "transactions"));
    assert_eq!(transactions, [6, 6, 12, 0]);
    // Three votes make a certificate.
    assert_eq!(sum(&whole, "voted"), 3 * whole["certificates"].as_u64().expect("a count"));
    assert!(whole["certificates"].as_u64().is_some_and(|count| count > 0), "{whole}");
    // Its last words may have been for the first of these blocks.
    let without = report(all_there.0 + 3, newest.0);
    let away = ["led", "voted", "checked", "batches"].map(|field| count(&without, "node3", field));
    assert_eq!(away, [0; 4], "{without}");
    assert!(count(&without, "node3", "missedViews") > 0, "{without}");
    let status = json(&["status", "--home", cluster.home(0).to_str().expect("a path")]);
    assert_eq!(status["alarms"], serde_json::json!(["not connected: node3"]), "{status}");
    assert!(status["disk"]["freeBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{status}");

    let late = (newest.0 + 100).to_string();
    let refused = realdid(&["report", "--rpc", &cluster.url(0), "--to", &late]);
    assert_eq!(refused.status.code(), Some(4), "{}", printed(&refused));
    let refused = realdid(&["report", "--rpc", &cluster.url(0), "--from", "9", "--to", "3"]);
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
}

/// `realdid top` in a terminal of its own, whose state is printed after it: `script` makes the terminal.
struct Terminal {
    child: Child,
    shown: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Terminal {
    fn open(url: &str) -> Self {
        // A terminal that `script` makes without one of its own has no size. The first line is the process id that `top` then has.
        let top =
            format!("sh -c 'echo pid $$ end; exec {} top --rpc {url} --every 200ms'", binary().display());
        let top = format!("stty cols 100 rows 30; {top}; stty -a");
        let mut child = Command::new("script")
            .args(["-qec", &top, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of Debian's bsdutils");
        let shown = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (mut out, copy) = (child.stdout.take().expect("its output"), std::sync::Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count) = out.read(&mut bytes) {
                if count == 0 {
                    return;
                }
                copy.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().expect("not poisoned").clone()
    }

    async fn shows(&self, what: &str) {
        eventually(&format!("top shows {what}"), async || self.shown().contains(what)).await;
    }

    /// Waits until it has ended, and checks that the terminal is as it was before.
    fn assert_restored(mut self) {
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("wait").is_none() {
            assert!(Instant::now() < end, "top does not end: {}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = self.shown();
        let left = text.rfind("\u{1b}[?1049l").expect("the other screen is left");
        let entered = text.rfind("\u{1b}[?1049h").expect("it was entered");
        assert!(entered < left, "{text}");
        let state = &text[left..];
        assert!(state.contains(" icanon") && state.contains(" echo "), "the keyboard is as it was: {state}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn top_shows_a_node_and_leaves_the_terminal_as_it_was_by_a_key_and_by_a_signal() {
    let cluster = Cluster::start(1).await;
    let mut terminal = Terminal::open(&cluster.url(0));
    terminal.shows("node0 on network").await;
    terminal.shows("q quits").await;
    terminal.child.stdin.as_mut().expect("its input").write_all(b"q").expect("written");
    terminal.assert_restored();

    let terminal = Terminal::open(&cluster.url(0));
    terminal.shows("q quits").await;
    let text = terminal.shown();
    let pid = text.split_once("pid ").and_then(|(_, rest)| rest.split(' ').next()).expect("a process id");
    signal("-TERM", &[pid.to_owned()]);
    terminal.assert_restored();

    // Where there is no terminal it draws nothing.
    let refused = realdid(&["top", "--rpc", &cluster.url(0)]);
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
    assert!(
        printed(&refused).contains("realdid status") && refused.stdout.is_empty(),
        "{}",
        printed(&refused)
    );
}
