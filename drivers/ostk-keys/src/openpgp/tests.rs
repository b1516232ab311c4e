//! Real keys, made by gpg in a home of their own: signed, certified, revoked and expired as people do it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use super::*;

/// A home of gpg. Dropped, its agent is ended.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self(home)
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.0.path()).args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ]);
        gpg.args(["--passphrase", ""]).args(args).stdin(Stdio::null());
        let output = gpg.output().expect("gpg is installed: cargo xtask test does that");
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key that certifies and signs; returns its fingerprint.
    fn key(&self, name: &str) -> String {
        self.run(&["--quick-gen-key", name, "ed25519", "default", "never"]);
        self.fingerprint(name)
    }

    /// Makes a key in 2025 that lived for a day.
    fn old_key(&self, name: &str) -> String {
        let made =
            ["--faked-system-time", "20250101T000000!", "--quick-gen-key", name, "ed25519", "default", "1d"];
        self.run(&made);
        self.fingerprint(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let list = String::from_utf8(self.run(&["--with-colons", "--list-keys", name])).unwrap();
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn certify(&self, signer: &str, signee: &str) {
        self.run(&["--local-user", signer, "--quick-sign-key", signee]);
    }

    /// The owner revokes the key with the certificate that gpg made for that.
    fn revoke(&self, key: &str) {
        let file = self.0.path().join(format!("openpgp-revocs.d/{key}.rev"));
        let text = fs::read_to_string(&file).unwrap().replace(":-----BEGIN", "-----BEGIN");
        fs::write(&file, text).unwrap();
        self.run(&["--import", file.to_str().unwrap()]);
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.0.path().join("document");
        fs::write(&file, text).unwrap();
        file
    }

    fn keyring(&self) -> Keyring {
        Keyring::of_gpg(Some(self.0.path())).unwrap()
    }

    fn sign(&self, key: &str, text: &str) -> Vec<u8> {
        sign_with_gpg(&self.file(text), Some(key), Some(self.0.path())).unwrap()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

fn now() -> Seconds {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn standing(gpg: &Gpg, key: &str, anchors: &[&str]) -> Standing {
    tier(key, &gpg.keyring(), anchors, &[], now())
}

#[test]
fn a_signature_made_by_gpg_verifies_over_the_same_bytes_and_no_others() {
    let gpg = Gpg::new();
    let key = gpg.key("ada");
    let signature = gpg.sign(&key, "IDENTITY ada\n");
    let keyring = gpg.keyring();
    let verify = |text: &str| verify_detached(text.as_bytes(), &signature, &keyring, now());
    assert_eq!(verify("IDENTITY ada\n"), Verified::Good(key.clone()));
    assert_eq!(verify("IDENTITY eve\n"), Verified::Bad(key));
    assert_eq!(
        verify_detached(b"IDENTITY ada\n", &signature, &Keyring::default(), now()),
        Verified::UnknownKey
    );
    let none = verify_detached(b"IDENTITY ada\n", b"no signature", &keyring, now());
    assert!(matches!(none, Verified::Unusable(_)), "{none:?}");
}

#[test]
fn a_signing_subkey_signs_for_its_key() {
    let gpg = Gpg::new();
    let key = gpg.key("ada");
    gpg.run(&["--quick-add-key", &key, "ed25519", "sign", "0"]);
    let signature = gpg.sign(&key, "text");
    assert_eq!(verify_detached(b"text", &signature, &gpg.keyring(), now()), Verified::Good(key));
}

#[test]
fn a_signature_over_sha1_is_worth_nothing() {
    let gpg = Gpg::new();
    let key = gpg.key("ada");
    let file = gpg.file("text");
    let args = ["--local-user", &key, "--digest-algo", "SHA1", "--detach-sign", "--output", "-"];
    let signature = gpg.run(&[&args[..], &[file.to_str().unwrap()]].concat());
    let verified = verify_detached(b"text", &signature, &gpg.keyring(), now());
    assert_eq!(verified, Verified::Unusable("it was made with a broken hash".to_owned()));
}

#[test]
fn the_tier_comes_from_certifications_that_lead_to_an_anchor() {
    let gpg = Gpg::new();
    let [root, lead, ada, eve] = ["root", "lead", "ada", "eve"].map(|name| gpg.key(name));
    gpg.certify(&root, &lead);
    gpg.certify(&lead, &ada);
    let anchors = [root.as_str()];
    let tiers = [&root, &lead, &ada, &eve].map(|key| standing(&gpg, key, &anchors).tier);
    assert_eq!(tiers, [Tier::T0, Tier::T1, Tier::T1, Tier::T2]);
    assert_eq!(standing(&gpg, &ada, &anchors).path, [root.clone(), lead.clone(), ada.clone()]);
    assert_eq!(standing(&gpg, &ada.to_lowercase(), &[&root.to_lowercase()]).tier, Tier::T1);
    assert_eq!(standing(&gpg, &"0".repeat(40), &anchors).tier, Tier::T3);
    assert_eq!(standing(&gpg, &ada, &[]).tier, Tier::T2);
}

#[test]
fn the_trust_that_a_person_told_gpg_to_have_does_not_count() {
    let gpg = Gpg::new();
    let [root, eve] = ["root", "eve"].map(|name| gpg.key(name));
    let ultimate = gpg.file(&format!("{eve}:6:\n"));
    gpg.run(&["--import-ownertrust", ultimate.to_str().unwrap()]);
    assert_eq!(standing(&gpg, &eve, &[&root]).tier, Tier::T2);
}

#[test]
fn a_revoked_key_has_no_tier_and_its_certifications_none_either() {
    let gpg = Gpg::new();
    let [root, lead, ada] = ["root", "lead", "ada"].map(|name| gpg.key(name));
    gpg.certify(&root, &lead);
    gpg.certify(&lead, &ada);
    let signature = gpg.sign(&lead, "text");
    gpg.revoke(&lead);
    let anchors = [root.as_str()];
    assert_eq!(standing(&gpg, &lead, &anchors).tier, Tier::T3);
    assert!(standing(&gpg, &lead, &anchors).reason.contains("revoked"));
    assert_eq!(standing(&gpg, &ada, &anchors).tier, Tier::T2);
    let verified = verify_detached(b"text", &signature, &gpg.keyring(), now());
    assert_eq!(verified, Verified::Lapsed(lead, KeyState::Revoked));
}

#[test]
fn an_expired_key_has_no_tier() {
    let gpg = Gpg::new();
    let root = gpg.key("root");
    let old = gpg.old_key("ada");
    let standing = standing(&gpg, &old, &[&root]);
    assert!(standing.tier == Tier::T3 && standing.reason.contains("expired"), "{standing:?}");
}

#[test]
fn a_certification_that_was_revoked_or_has_expired_leads_nowhere() {
    let gpg = Gpg::new();
    let [root, ada, bob] = ["root", "ada", "bob"].map(|name| gpg.key(name));
    gpg.certify(&root, &ada);
    assert_eq!(standing(&gpg, &ada, &[&root]).tier, Tier::T1);
    gpg.run(&["--quick-revoke-sig", &ada, &root]);
    assert_eq!(standing(&gpg, &ada, &[&root]).tier, Tier::T2);
    gpg.run(&["--default-cert-expire", "1d", "--local-user", &root, "--quick-sign-key", &bob]);
    let at = |when| tier(&bob, &gpg.keyring(), &[&root], &[], when).tier;
    assert_eq!([at(now()), at(now() + 2 * 86_400)], [Tier::T1, Tier::T2]);
}

#[test]
fn a_key_that_github_shows_with_a_verified_address_is_vouched_for() {
    let gpg = Gpg::new();
    let ada = gpg.key("ada");
    let raw = String::from_utf8(gpg.run(&["--armor", "--export", &ada])).unwrap();
    let answer = |verified: bool, revoked: bool, expires: Option<&str>| {
        let emails = serde_json::json!([{ "email": "ada@example.org", "verified": verified }]);
        let key = serde_json::json!({ "id": 3, "key_id": &ada[24..], "public_key": "xjMEX", "emails": emails,
            "subkeys": [], "can_sign": true, "can_certify": true, "created_at": "2026-01-02T03:04:05Z",
            "expires_at": expires, "revoked": revoked, "raw_key": raw });
        GithubKeys::parse("ada", serde_json::json!([key]).to_string().as_bytes()).unwrap()
    };
    let of = |keys: GithubKeys| tier(&ada, &gpg.keyring(), &[], &[&keys], now());
    let vouched = of(answer(true, false, None));
    assert!(vouched.tier == Tier::T1 && vouched.reason.contains("account ada"), "{vouched:?}");
    let others = [
        answer(false, false, None),
        answer(true, true, None),
        answer(true, false, Some("2026-01-03T00:00:00Z")),
    ];
    for keys in others {
        assert_eq!(of(keys).tier, Tier::T2);
    }
    assert!(GithubKeys::parse("ada", b"{\"message\": \"Not Found\"}").is_err());
}
