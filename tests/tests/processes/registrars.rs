//! What accredited organisations do by the commands: a registrar registers DIDs of others, an issuer publishes.

use serde_json::Value;
use tests::harness::{Cluster, printed, realdid};

/// Runs a command with a keyring of that name; what it printed as JSON, and its exit code.
fn run(cluster: &Cluster, keyring: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let keyring = cluster.scratch().join(keyring);
    let common = ["--json", "--rpc", &cluster.url(0), "--keyring", keyring.to_str().expect("UTF-8")];
    let output = realdid(&[arguments, &common].concat());
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|_| printed(&output).into()))
}

fn done(cluster: &Cluster, keyring: &str, arguments: &[&str]) -> Value {
    let (code, json) = run(cluster, keyring, arguments);
    assert_eq!(code, Some(0), "{json}");
    json
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().expect("a text")
}

#[tokio::test]
async fn a_registrar_registers_what_owners_requested_and_one_that_fails_keeps_none_of_the_others_from_it() {
    let cluster = Cluster::start(1).await;
    let made = done(&cluster, "registrar", &["did", "create"]);
    let registrar = text(&made, "did");
    cluster.decide(&[0], &["accredit", registrar, "--role", "registrar", "--quota", "9"]);

    let endorsed = done(&cluster, "registrar", &["did", "create", "--registrar", registrar]);
    let resolved = cluster.client(0).resolve(text(&endorsed, "did"), &Default::default()).await;
    let resolved = resolved.expect("an answer");
    assert_eq!(resolved["didDocumentMetadata"]["endorsement"]["registrar"], registrar);

    let height = cluster.client(0).status().await.expect("status").height;
    let expires_at = height.plus(500).to_string();
    let mut dids = Vec::new();
    let files: Vec<String> = ["a", "b"]
        .map(|name| {
            let file = cluster.scratch().join(format!("{name}.json"));
            let file = file.to_str().expect("UTF-8").to_owned();
            let arguments =
                ["did", "request", "--registrar", registrar, "--expires-at", &expires_at, "--out", &file];
            dids.push(text(&done(&cluster, "owner", &arguments), "did").to_owned());
            let (code, again) = run(&cluster, "owner", &arguments);
            assert!(code == Some(1) && again.to_string().contains("cannot be written"), "{again}");
            file
        })
        .into();
    let asked = cluster.client(0).resolve(&dids[0], &Default::default()).await.expect("an answer");
    assert_eq!(asked["didResolutionMetadata"]["error"]["status"], 404, "a request registers nothing");

    let [a, b] = files.as_slice() else { unreachable!("two files") };
    // One that its owner did not sign for keeps none of the others from it.
    let mut request: Value = serde_json::from_slice(&std::fs::read(a).expect("a file")).expect("JSON");
    request["expiresAt"] = height.plus(499).0.into();
    let forged = cluster.scratch().join("forged.json");
    std::fs::write(&forged, request.to_string()).expect("a file");
    let forged = forged.to_str().expect("UTF-8");
    let (code, alone) = run(&cluster, "registrar", &["did", "create-many", "--registrar", registrar, forged]);
    assert!(code == Some(1) && alone.to_string().contains("forged.json"), "{alone}");
    let many = ["did", "create-many", "--registrar", registrar, forged, a, b, a];
    let (code, receipt) = run(&cluster, "registrar", &many);
    let results: Vec<&str> =
        receipt["items"].as_array().expect("items").iter().map(|item| text(item, "result")).collect();
    assert_eq!((code, results), (Some(5), vec!["applied", "applied", "did_exists"]));
    for did in &dids {
        let resolved = cluster.client(0).resolve(did, &Default::default()).await.expect("an answer");
        assert_eq!(resolved["didDocumentMetadata"]["endorsement"]["registrar"], registrar);
        // The keys never left the owner, who alone can change it.
        assert_eq!(done(&cluster, "owner", &["did", "update", did])["version"], 2);
    }
    let (code, stranger) = run(&cluster, "owner", &["did", "create-many", "--registrar", registrar, a]);
    assert!(code == Some(4) && stranger.to_string().contains("has no keys of"), "{stranger}");
    let late = ["did", "request", "--registrar", registrar, "--expires-at", "1", "--out", "late.json"];
    let (code, late) = run(&cluster, "owner", &late);
    assert!(code == Some(1) && late.to_string().contains("--expires-at 1"), "{late}");
}

#[tokio::test]
async fn an_issuer_publishes_versions_and_its_accreditation_is_shown_and_proved() {
    let cluster = Cluster::start(1).await;
    let made = done(&cluster, "issuer", &["did", "create"]);
    let issuer = text(&made, "did");
    let url = cluster.url(0);
    let shown = |more: &[&str]| {
        let output = realdid(&[&["registry", "show", issuer, "--json", "--rpc", &url], more].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).expect("JSON"))
    };
    let (code, none) = shown(&[]);
    assert_eq!((code, &none["accreditations"]), (Some(4), &serde_json::json!([])));
    let digest = "7a".repeat(32);
    let schema = |uri: &str| {
        let arguments = ["registry", "publish-schema", "--issuer", issuer, "--number", "3"];
        run(&cluster, "issuer", &[&arguments[..], &["--digest", &digest, "--uri", uri]].concat())
    };
    let (code, early) = schema("https://issuer.example/3");
    assert!(code == Some(5) && early.to_string().contains("not_accredited"), "{early}");

    cluster.decide(&[0], &["accredit", issuer, "--role", "issuer", "--scope", "diploma"]);
    for version in [1, 2] {
        let (code, published) = schema("https://issuer.example/3");
        assert_eq!((code, &published["version"]), (Some(0), &version.into()), "{published}");
    }
    let (code, plain) = schema("http://issuer.example/3");
    assert!(code == Some(2), "{plain}");
    let list = ["registry", "publish-status-list", "--issuer", issuer, "--number", "0", "--digest", &digest];
    let list = |purpose: &str| {
        let more = ["--uri", "https://issuer.example/status", "--purpose", purpose];
        run(&cluster, "issuer", &[&list[..], &more].concat())
    };
    assert_eq!(list("revocation").1["version"], 1);
    let (code, other) = list("suspension");
    assert!(code == Some(5) && other.to_string().contains("other_purpose"), "{other}");

    let genesis = cluster.home(0).join("genesis.toml");
    let genesis = genesis.to_str().expect("UTF-8");
    let ((code, told), (proved_code, proved)) = (shown(&[]), shown(&["--prove", "--genesis", genesis]));
    assert_eq!((code, proved_code), (Some(0), Some(0)), "{proved}");
    assert_eq!(told["accreditations"][0]["role"], "issuer");
    let mut accreditation = proved["accreditations"][0].clone();
    let shown = accreditation.as_object_mut().expect("an accreditation").remove("proved");
    assert!(shown.is_some_and(|shown| shown["height"].is_u64()), "{proved}");
    assert_eq!(told["accreditations"][0], accreditation);
    let other = &proved["notAccredited"][0];
    assert!(other["role"] == "registrar" && other["proved"]["height"].is_u64(), "{proved}");
    assert!(told["notAccredited"].is_null(), "{told}");
}
