//! What nodes show of themselves: their figures, and a real Prometheus that watches them with the alert rules of `scripts/observability`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Cluster, eventually, get, send};

/// How often nodes are asked, and rules looked at. What a minute is in the rules is nothing here.
const EVERY: &str = "400ms";

/// A Prometheus. Ended when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    port: u16,
    /// The metrics ports of the nodes that it watches, by node.
    watched: Vec<u16>,
}

/// An alert that fires: its name, the node that it is about, and the validator that it names, if it does.
pub type Alert = (String, usize, Option<String>);

/// The folder of rules, dashboard and examples.
pub fn observability() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/observability")
}

/// Runs `promtool` in that folder, to its end, and gives what it printed.
///
/// # Panics
/// When it is missing, or fails.
pub fn promtool(arguments: &[&str]) -> String {
    let done = Command::new("promtool").args(arguments).current_dir(observability()).output();
    let done = done.expect("promtool: apt-get install prometheus");
    let text = super::printed(&done);
    assert!(done.status.success(), "promtool {arguments:?}:\n{text}");
    text
}

/// A figure of a node's metrics page, which it serves at `port`: by its name, and its labels if it has any.
pub fn figure(port: u16, name: &str) -> Option<f64> {
    let page = get(port, "/metrics")?;
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

impl Prometheus {
    /// Watches all nodes of `cluster` by the rules, without their `for`: an alert fires as soon as its expression holds.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(cluster: &Cluster) -> Self {
        let folder = cluster.scratch().join("prometheus");
        fs::create_dir_all(&folder).expect("a folder");
        let rules = fs::read_to_string(observability().join("rules.yml")).expect("rules");
        let impatient =
            |line: &str| if line.trim_start().starts_with("for:") { String::new() } else { line.to_owned() };
        let rules: Vec<String> = rules.lines().map(impatient).collect();
        fs::write(folder.join("rules.yml"), rules.join("\n")).expect("written");
        let watched: Vec<u16> = (0..cluster.len()).map(|node| cluster.ports(node)[2]).collect();
        let targets: Vec<String> = watched.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let config = format!(
            "global: {{ scrape_interval: {EVERY}, scrape_timeout: {EVERY}, evaluation_interval: {EVERY} }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{ job_name: realdid, static_configs: [{{ targets: [{}] }}] }}]\n",
            targets.join(", ")
        );
        fs::write(folder.join("prometheus.yml"), config).expect("written");
        // Within the cluster's range of ports, beyond those of its nodes.
        let port = cluster.ports(9)[0];
        let log = fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus: apt-get install prometheus");
        let prometheus = Self { child, port, watched };
        eventually("Prometheus is ready", async || {
            prometheus.ask("/-/ready").is_some_and(|it| it.contains(" 200 "))
        })
        .await;
        prometheus
    }

    /// The alerts that fire now.
    ///
    /// # Panics
    /// When Prometheus does not answer.
    pub fn alerts(&self) -> BTreeSet<Alert> {
        let answer = self.ask("/api/v1/alerts").expect("Prometheus answers");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        let answer: Value = serde_json::from_str(body).expect("JSON");
        let alerts = answer["data"]["alerts"].as_array().expect("a list of alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| self.alert(&alert["labels"])).collect()
    }

    fn alert(&self, labels: &Value) -> Alert {
        let text = |name: &str| labels[name].as_str().map(str::to_owned);
        let port = text("instance").and_then(|instance| instance.rsplit(':').next()?.parse::<u16>().ok());
        let node = self.watched.iter().position(|watched| Some(*watched) == port);
        (text("alertname").unwrap_or_default(), node.expect("an alert about a node"), text("validator"))
    }

    /// Waits until all of these alerts fire.
    pub async fn fires(&self, expected: &[(&str, usize, Option<&str>)]) {
        for (name, node, validator) in expected {
            let alert = ((*name).to_owned(), *node, validator.map(str::to_owned));
            eventually(&format!("{alert:?} fires"), async || self.alerts().contains(&alert)).await;
        }
    }

    fn ask(&self, path: &str) -> Option<String> {
        // HTTP 1.0: the answer comes in one piece.
        send(self.port, format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // One that has ended by itself needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
