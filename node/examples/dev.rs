#![allow(missing_docs, clippy::unwrap_used)]
use client::{KeyFile, Role, Client};
use genesis::*;
use std::time::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "testnet" => {
            let n: usize = args[3].parse().unwrap();
            let base: u16 = args[4].parse().unwrap();
            let mut vals = vec![];
            for i in 0..n {
                let dir = format!("{}/node{i}", args[2]);
                std::fs::create_dir_all(format!("{dir}/keys")).unwrap();
                let mut keys = vec![];
                for role in [Role::Consensus, Role::Network, Role::Governance] {
                    let k = KeyFile::generate(role);
                    let p = std::path::PathBuf::from(format!("{dir}/keys/{role}.json"));
                    k.write_new(&p).unwrap();
                    keys.push(KeyFile::read_for(&p, role).unwrap().public());
                }
                vals.push(Validator { name: format!("node{i}"), consensus_key: keys[0], network_key: keys[1], governance_key: keys[2], address: format!("127.0.0.1:{}", base + 10 * i as u16) });
                let a = |o: u16| format!("127.0.0.1:{}", base + 10 * i as u16 + o).parse().unwrap();
                std::fs::write(format!("{dir}/config.toml"), node::config::Config::at(a(0), a(1), a(2)).to_toml()).unwrap();
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
            let g = Genesis::new("test".into(), UnixMillis(now), Parameters::default(), vals).unwrap();
            for i in 0..n { std::fs::write(format!("{}/node{i}/genesis.toml", args[2]), g.to_toml()).unwrap(); }
        }
        "start" => {
            tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or("info".into())).init();
            let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            if let Err(e) = rt.block_on(node::run(node::home::Home::open(&args[2]).unwrap())) { eprintln!("error: {e:#}"); std::process::exit(1); }
        }
        "load" => {
            let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            rt.block_on(async {
                let count: usize = args[3].parse().unwrap();
                let c = Client::new(&args[2]).unwrap();
                let st = c.status().await.unwrap();
                let terms = client::wallet::Terms { network: st.network, chain: st.chain, expires_at: Height(st.height.0 + 1000) };
                for _ in 0..count {
                    let k = SecretKey::generate();
                    let (did, tx) = client::wallet::registration(&terms, &k);
                    let t = Instant::now();
                    let s = c.submit(&genesis::encoding::encode(&tx)).await.unwrap();
                    let r = c.wait(&s.id, Duration::from_secs(20)).await;
                    println!("{did} {:?} {:?}", r.map(|r| (r.height, r.result)), t.elapsed());
                }
            });
        }
        _ => panic!(),
    }
}
