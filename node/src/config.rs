//! A node's own settings, `config.toml`. What all nodes must agree on stands in the genesis document instead.
//!
//! Invariant: a [`Config`] is checked: every value is in its range, no address is used twice, and no field of the
//! file was ignored. An error names the line, the field, its value and what is allowed.

mod origin;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use genesis::PublicKey;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

pub use origin::{Origin, Setting};

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the other nodes reach this one.
    #[serde(deserialize_with = "address")]
    pub p2p_listen: SocketAddr,
    /// Where JSON-RPC and DID Resolution are served.
    #[serde(deserialize_with = "address")]
    pub rpc_listen: SocketAddr,
    /// Where metrics and health are served.
    #[serde(deserialize_with = "address")]
    pub metrics_listen: SocketAddr,
    /// Nodes outside the validator set that may connect, by their network keys.
    #[serde(default, deserialize_with = "observers")]
    pub observers: Vec<PublicKey>,
    /// How the keys are opened.
    #[serde(default)]
    pub keys: KeysConfig,
    /// What is logged, and how.
    #[serde(default)]
    pub log: LogConfig,
    /// Bounds of that server.
    #[serde(default)]
    pub rpc: RpcConfig,
    /// Bounds of the mempool.
    #[serde(default)]
    pub mempool: MempoolConfig,
    /// Which snapshots are made.
    #[serde(default)]
    pub snapshots: SnapshotConfig,
    /// How much of the chain is kept.
    #[serde(default)]
    pub history: HistoryConfig,
    /// How much of the disk is left alone.
    #[serde(default)]
    pub disk: DiskConfig,
}

/// How the keys are opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// The file with their passphrase, if they are encrypted and it does not come from elsewhere. A relative name starts at the
    /// node's folder.
    #[serde(deserialize_with = "file_name", skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// For people or for machines.
    #[serde(deserialize_with = "log_format")]
    pub format: LogFormat,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or a list such as `info,p2p=debug`.
    #[serde(deserialize_with = "log_level")]
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// For machines: one JSON object a line.
    Json,
}

/// Bounds of the JSON-RPC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcConfig {
    /// The most connections at a time.
    #[serde(deserialize_with = "within::<_, _, 1, 100_000>")]
    pub max_connections: u32,
    /// The most bytes in a request's body.
    #[serde(deserialize_with = "within::<_, _, 65_536, 67_108_864>")]
    pub max_body_bytes: u32,
    /// The most calls in one JSON-RPC batch, and transactions or ids in one call.
    #[serde(deserialize_with = "within::<_, _, 1, 100_000>")]
    pub max_batch: u32,
    /// The longest that `tx_wait` and `tx_waitBatch` wait, whatever the caller asks for.
    #[serde(deserialize_with = "within::<_, _, 100, 3_600_000>")]
    pub wait_timeout_max_ms: u64,
    /// The origins whose pages may use the port from a browser; `*` for all. None unless named.
    #[serde(deserialize_with = "origins")]
    pub cors_origins: Vec<String>,
}

/// Bounds of the mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MempoolConfig {
    /// The most bytes of transactions that wait; more are refused until there is room.
    #[serde(deserialize_with = "within::<_, _, 1_048_576, 68_719_476_736>")]
    pub max_bytes: u64,
}

/// Which snapshots are made, for nodes that begin from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotConfig {
    /// One after each block whose height is a multiple of this; 0 for none.
    #[serde(deserialize_with = "within::<_, _, 0, 1_000_000_000>")]
    pub every_blocks: u64,
    /// How many are kept when the node has made one by itself, those made by hand counted too.
    #[serde(deserialize_with = "within::<_, _, 1, 1_000>")]
    pub keep: usize,
}

/// How much of the chain is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// The newest blocks that are kept, and more where the rules ask for more; 0 for all: an archive.
    #[serde(deserialize_with = "within::<_, _, 0, 1_000_000_000_000>")]
    pub keep_blocks: u64,
}

/// How much of the disk is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskConfig {
    /// Below so many free bytes the node stops; a start needs 128 MiB more; 0 for no floor.
    #[serde(deserialize_with = "within::<_, _, 0, 1_000_000_000_000_000>")]
    pub floor_bytes: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { floor_bytes: 1 << 30 }
    }
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self { every_blocks: 0, keep: 2 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        // At `info` libp2p logs its own peer id, which says nothing to whoever reads ours.
        Self { format: LogFormat::Pretty, level: "info,libp2p_swarm=warn".to_owned() }
    }
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            max_connections: 200,
            max_body_bytes: 4 << 20,
            max_batch: 2_000,
            wait_timeout_max_ms: 60_000,
            cors_origins: Vec::new(),
        }
    }
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self { max_bytes: 64 << 20 }
    }
}

/// Why a text is not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or a field is missing, unknown or not allowed. The text names the line.
    #[error("{0}")]
    Syntax(String),
    /// Two services at one address.
    #[error("{}{second} is {address}, but {first} is too: give each a port of its own", in_line(.line))]
    AddressTwice {
        /// The field with the same address.
        first: &'static str,
        /// The field at fault.
        second: &'static str,
        /// The address.
        address: SocketAddr,
        /// The line of the field at fault, counted from 1, where there is a file.
        line: Option<usize>,
    },
}

fn in_line(line: &Option<usize>) -> String {
    line.map_or(String::new(), |line| format!("line {line}: "))
}

impl Config {
    /// The defaults at these three addresses.
    pub fn at(p2p_listen: SocketAddr, rpc_listen: SocketAddr, metrics_listen: SocketAddr) -> Self {
        let (log, rpc, mempool) = (LogConfig::default(), RpcConfig::default(), MempoolConfig::default());
        let (snapshots, history) = (SnapshotConfig::default(), HistoryConfig::default());
        let (observers, keys, disk) = (Vec::new(), KeysConfig::default(), DiskConfig::default());
        Self {
            p2p_listen,
            rpc_listen,
            metrics_listen,
            observers,
            keys,
            log,
            rpc,
            mempool,
            snapshots,
            history,
            disk,
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// Names the line, the field, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            // Some complaints quote the line at fault, however long it is.
            let text = error.to_string().lines().map(without_passphrase).collect::<Vec<_>>().join("\n");
            ConfigError::Syntax(text.trim_end().chars().take(600).collect())
        })?;
        config.check().map_err(|error| match error {
            ConfigError::AddressTwice { first, second, address, .. } => {
                let line = origin::lines(text).get(second).copied();
                ConfigError::AddressTwice { first, second, address, line }
            }
            error => error,
        })?;
        Ok(config)
    }

    /// Checks what no field shows alone.
    ///
    /// # Errors
    /// When two services are to listen at one address.
    pub fn check(&self) -> Result<(), ConfigError> {
        let listens = [
            ("p2p_listen", self.p2p_listen),
            ("rpc_listen", self.rpc_listen),
            ("metrics_listen", self.metrics_listen),
        ];
        for (place, (second, address)) in listens.iter().enumerate() {
            // Port 0 asks the system for a free one each time.
            let same = listens[..place].iter().find(|(_, other)| other == address && address.port() != 0);
            if let Some((first, _)) = same {
                return Err(ConfigError::AddressTwice { first, second, address: *address, line: None });
            }
        }
        Ok(())
    }

    /// The file with every setting and what it means.
    pub fn to_toml(&self) -> String {
        let Self {
            p2p_listen,
            rpc_listen,
            metrics_listen,
            observers,
            keys,
            log,
            rpc,
            mempool,
            snapshots,
            history,
            disk,
        } = self;
        let passphrase_file = match &keys.passphrase_file {
            // As TOML writes text: any name stays what it is.
            Some(file) => format!("passphrase_file = {}", toml::Value::String(file.display().to_string())),
            None => "# passphrase_file = \"/etc/realdid/passphrase\"".to_owned(),
        };
        let observers = observers.iter().map(|key| format!("\n  \"{key}\",")).collect::<String>()
            + if observers.is_empty() { "" } else { "\n" };
        let RpcConfig { max_connections, max_body_bytes, max_batch, wait_timeout_max_ms, cors_origins } = rpc;
        let cors_origins: Vec<String> = cors_origins.iter().map(|origin| format!("\"{origin}\"")).collect();
        let cors_origins = cors_origins.join(", ");
        format!(
            r#"# Settings of this RealDID node. What all nodes agree on stands in genesis.toml.

# Where the other nodes reach this one.
p2p_listen = "{p2p_listen}"
# Where JSON-RPC and DID Resolution (/1.0/identifiers/…) are served, and lists of transactions taken (/tx/batch). Anyone who
# reaches it may submit and resolve.
rpc_listen = "{rpc_listen}"
# Where /metrics, /health/live and /health/ready are served.
metrics_listen = "{metrics_listen}"
# Network keys (z6Mk…) of nodes outside the validator set that may connect.
observers = [{observers}]

[keys]
# The file (mode 0600) with the passphrase of encrypted keys. Without it: `realdid start --passphrase-file`, the systemd
# credential realdid-passphrase, or a terminal.
{passphrase_file}

[log]
# pretty (for people) or json (for machines).
format = "{format}"
# error, warn, info, debug or trace; or a list by part, such as "info,p2p=debug".
level = "{level}"

[rpc]
max_connections = {max_connections}
# The most bytes in a request.
max_body_bytes = {max_body_bytes}
# The most calls in one JSON-RPC batch, and the most transactions or ids in one call.
max_batch = {max_batch}
# The longest that tx_wait and tx_waitBatch wait, whatever the caller asks for.
wait_timeout_max_ms = {wait_timeout_max_ms}
# Pages of these origins may use this port from a browser: "https://app.example", or "*" for all.
cors_origins = [{cors_origins}]

[mempool]
# The most bytes of transactions that wait; more are refused until there is room. Fewer wait where they would take longer
# than about two seconds to get ordered.
max_bytes = {max_bytes}

[snapshots]
# A new node can begin from a snapshot instead of executing the whole chain. One is made after each block whose height is a
# multiple of this, in data/snapshots; 0 for none. It takes as much disk as the DIDs do.
every_blocks = {every_blocks}
# How many are kept when one of these was made; older ones are deleted then, those made by hand too.
keep = {keep}

[history]
# How many of the newest blocks are kept; 0 for all of them (an archive). DIDs keep all their versions, and blocks that the rules
# may still ask for are kept whatever this says.
keep_blocks = {keep_blocks}

[disk]
# The node stops cleanly when fewer bytes than this are free where its data are; a start needs 128 MiB more. 0 for no floor. Below
# twice as many it warns. Files that it writes beside (snapshots, backups) need room above it.
floor_bytes = {floor_bytes}
"#,
            format = log.format,
            level = log.level,
            max_bytes = mempool.max_bytes,
            every_blocks = snapshots.every_blocks,
            keep = snapshots.keep,
            keep_blocks = history.keep_blocks,
            floor_bytes = disk.floor_bytes,
        )
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        })
    }
}

/// A value of whatever type, so that an error can say what is allowed instead of which type.
fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<toml::Value, D::Error> {
    toml::Value::deserialize(deserializer)
}

/// A value for an error: a text without quotes, cut.
fn shown(value: &toml::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    text.chars().take(80).collect()
}

/// A name that can be a file's.
fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let value = any(deserializer)?;
    match value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')) {
        Some(text) => Ok(Some(PathBuf::from(text))),
        None => Err(D::Error::custom(format!(
            "`{}` is not a file's name: expected one such as /etc/realdid/passphrase",
            shown(&value)
        ))),
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let value = any(deserializer)?;
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let text = shown(&value);
        D::Error::custom(format!("`{text}` is not an address: expected IP:port such as 127.0.0.1:26600"))
    })
}

/// Network keys, each once.
fn observers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let value = any(deserializer)?;
    let refused =
        |text: String| D::Error::custom(format!("{text}: expected a list of network keys, [\"z6Mk…\", …]"));
    let list = value.as_array().ok_or_else(|| refused(format!("`{}` is not a list", shown(&value))))?;
    let mut keys = Vec::new();
    for item in list {
        let text = item.as_str().ok_or_else(|| refused(format!("`{}` is not a key", shown(item))))?;
        let key = text.parse().map_err(|error: genesis::key::KeyError| refused(error.to_string()))?;
        if keys.contains(&key) {
            return Err(refused(format!("`{key}` is listed twice")));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    let value = any(deserializer)?;
    match value.as_str() {
        Some("pretty") => Ok(LogFormat::Pretty),
        Some("json") => Ok(LogFormat::Json),
        _ => Err(D::Error::custom(format!(
            "`{}` is not a format of the log: expected pretty or json",
            shown(&value)
        ))),
    }
}

/// A line that a complaint quotes, without the passphrase that somebody wrote there in the place of its file's name.
fn without_passphrase(line: &str) -> String {
    match line.split_once('=') {
        Some((field, _)) if field.contains("passphrase") && !field.contains("passphrase_file") => {
            format!("{field}= … (not shown: a passphrase stands in a file of its own, `passphrase_file`)")
        }
        _ => line.to_owned(),
    }
}

/// A filter for the log, as `level` gives it.
///
/// # Errors
/// Says what is allowed.
pub fn parse_log_level(text: &str) -> Result<tracing_subscriber::EnvFilter, String> {
    let refused = || {
        let text: String = text.chars().take(80).collect();
        format!(
            "`{text}` is not a log level: expected error, warn, info, debug, trace, or a list such as info,p2p=debug"
        )
    };
    // The filter's own parser takes any word for the name of a part: at least one level must be among them.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let named = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        levels.contains(&level.to_ascii_lowercase().as_str())
    };
    if !text.split(',').all(named) {
        return Err(refused());
    }
    tracing_subscriber::EnvFilter::try_new(text).map_err(|_| refused())
}

fn log_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = any(deserializer)?;
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    parse_log_level(&text).map_err(D::Error::custom)?;
    Ok(text)
}

/// Origins as browsers send them: a scheme, a host, maybe a port, and nothing after it; or `*`.
fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = any(deserializer)?;
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':' | b'[' | b']');
        text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(fits))
    };
    let refused = |what: &toml::Value| {
        let text = shown(what);
        D::Error::custom(format!(
            "`{text}` is not an origin: expected a list of https://host, in small letters, or *"
        ))
    };
    let list = value.as_array().ok_or_else(|| refused(&value))?;
    list.iter()
        .map(|item| match item.as_str() {
            Some(text) if is_origin(text) => Ok(text.to_owned()),
            _ => Err(refused(item)),
        })
        .collect()
}

/// A number from `LEAST` to `MOST`, which both fit into `T`.
fn within<'de, D, T, const LEAST: i64, const MOST: i64>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    let value = any(deserializer)?;
    let refused = || {
        let value = shown(&value);
        D::Error::custom(format!("{value} is not allowed here: expected a whole number, {LEAST} to {MOST}"))
    };
    let number = value.as_integer().filter(|number| (LEAST..=MOST).contains(number)).ok_or_else(refused)?;
    T::try_from(number).map_err(|_| refused())
}

#[cfg(test)]
mod tests;
