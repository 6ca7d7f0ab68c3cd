//! A node that orders bytes and looks at none of them: `opaque-node HOME ADDRESS`, where clients connect to ADDRESS.
//! The harness starts it in the place of `realdid start` for `scripts/bench --ordering`.

use std::net::SocketAddr;
use std::process::ExitCode;

use node::home::Home;
use tracing_subscriber::EnvFilter;

/// As `realdid`'s.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,libp2p_swarm=warn"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("opaque-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(home), Some(listen)) = (arguments.next(), arguments.next()) else {
        return Err("give a node's folder and the address for clients: opaque-node HOME ADDRESS".into());
    };
    let (home, listen) = (Home::open(home)?, listen.parse::<SocketAddr>()?);
    // As `realdid start` does.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("realdid").build()?;
    runtime.block_on(node::run_opaque(home, listen)).map_err(|error| format!("{error:#}").into())
}
