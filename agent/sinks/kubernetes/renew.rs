//! Renews the token of an agent on the host. A pod's is renewed by its
//! kubelet; one that a person made for a Node ends after its time, and with
//! it every condition and every release. So the agent asks for another one
//! like it, for the same Node and as long, when half of its time has passed,
//! and writes it where the kubeconfig says; the client takes it up from
//! there. It may only where `daemonset/unit` is applied, whose policy allows
//! no other token than that.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, PATIENCE, is_name};
use super::pace::between;
use crate::clock;
use crate::sinks::counts::Counts;
use crate::time::Timestamp;

/// The longest token: those of API servers have one to two kilobytes.
const TOKEN_MAX: u64 = 16 << 10;

/// How often the file is looked at: whoever else writes it may do so.
const LOOK: Duration = Duration::from_secs(600);

/// The shortest life that an API server gives (`TokenRequestSpec`,
/// `staging/src/k8s.io/api/authentication/v1`), and the longest that the
/// policy allows.
const LIFE: std::ops::RangeInclusive<i64> = 600..=30 * 86_400;

/// What a token says of itself; the API server has signed it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Claims {
    exp: i64,
    iat: i64,
    #[serde(rename = "kubernetes.io")]
    whose: Whose,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Whose {
    namespace: String,
    serviceaccount: Named,
    node: Option<Bound>,
    /// A pod's token names its node too, and is its kubelet's to renew.
    pod: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Bound {
    name: String,
    uid: String,
}

/// What a look at the token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is none that is ours to renew: no file, or not of this Node.
    None,
    /// It is not time yet; it ends then.
    Early(Timestamp),
    /// There is a new one, which ends then.
    Renewed(Timestamp),
    /// It ends then, and why there is no new one.
    Failed(Timestamp, String),
}

/// Renews the token for as long as the agent runs.
pub async fn renew(client: &Client, counts: &Counts) {
    let mut told = None;
    loop {
        let turn = turn(client, clock::now().wall).await;
        match &turn {
            Turn::None => counts.token_ends(None),
            Turn::Early(ends) => counts.token_ends(Some(*ends)),
            Turn::Renewed(ends) => {
                counts.token_ends(Some(*ends));
                tracing::info!(until = %ends, "the token is renewed");
            }
            Turn::Failed(ends, why) => {
                counts.token_ends(Some(*ends));
                if told.as_ref() != Some(&turn) {
                    tracing::warn!(
                        until = %ends, why,
                        "the agent may not renew its token; write a new one \
                         into its file, or apply daemonset/unit"
                    );
                }
            }
        }
        told = Some(turn);
        tokio::time::sleep(between(LOOK / 2, LOOK)).await;
    }
}

/// Looks at the token once, and renews it if it is time.
pub async fn turn(client: &Client, now: Timestamp) -> Turn {
    let access = client.access().clone();
    let look = move || {
        let file = access.token_file()?;
        Some((claims(&text(&file)?)?, file))
    };
    // A disk that hangs must not stop the network's one thread.
    let looked = client.reading().ask(PATIENCE, look).await;
    let Some((claims, file)) = looked.flatten() else {
        return Turn::None;
    };
    let life = claims.exp.saturating_sub(claims.iat);
    let ends = seconds(claims.exp);
    let path = match claims.whose.node.as_ref() {
        Some(node)
            if node.name == client.node_name()
                && claims.whose.pod.is_none() =>
        {
            path(&claims.whose)
        }
        _ => None,
    };
    let Some(path) = path.filter(|_| LIFE.contains(&life)) else {
        return Turn::None;
    };
    if now < seconds(claims.iat + life / 2) {
        return Turn::Early(ends);
    }
    match another(client, &path, &claims, file).await {
        Ok(ends) => Turn::Renewed(ends),
        Err(why) => Turn::Failed(ends, why),
    }
}

/// Asks for another token and writes it.
async fn another(
    client: &Client,
    path: &str,
    claims: &Claims,
    file: PathBuf,
) -> Result<Timestamp, String> {
    // Whether it can be written is known before one is asked for.
    let prepare = move || prepare(&file);
    let prepared = client.reading().ask(PATIENCE, prepare).await;
    let (mut new, from, to) = prepared.ok_or("its disk does not answer")??;
    let bound = claims.whose.node.as_ref().map(|node| {
        json!({"kind": "Node", "apiVersion": "v1",
               "name": node.name, "uid": node.uid})
    });
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": bound,
                 "expirationSeconds": claims.exp - claims.iat},
    });
    let answer = client.create(path, &request).await;
    let answer: Value = answer.map_err(|e| e.to_string())?.value;
    let token = answer["status"]["token"].as_str().unwrap_or_default();
    let given = self::claims(token).ok_or("its answer holds no token")?;
    let token = token.to_owned();
    let write = move || {
        new.write_all(token.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(from, to)
    };
    let written = client.reading().ask(PATIENCE, write).await;
    let written = written.ok_or("its disk does not answer")?;
    written.map_err(|error| error.to_string())?;
    Ok(seconds(given.exp))
}

/// The new file, where it is, and where it belongs: behind links, which stay.
fn prepare(file: &Path) -> Result<(File, PathBuf, PathBuf), String> {
    let told = |error| format!("{}: {error}", file.display());
    let to = file.canonicalize().map_err(told)?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let from = to.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let new = options.open(&from).map_err(told)?;
    Ok((new, from, to))
}

/// Where another one is asked for.
fn path(whose: &Whose) -> Option<String> {
    let (namespace, name) = (&whose.namespace, &whose.serviceaccount.name);
    (is_name(namespace) && is_name(name)).then(|| {
        format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token")
    })
}

fn seconds(time: i64) -> Timestamp {
    Timestamp(time.saturating_mul(1_000_000))
}

fn text(file: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(file).ok()?;
    file.take(TOKEN_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a token says of itself (RFC 7519: three parts in base64url, the
/// second a JSON object).
fn claims(token: &str) -> Option<Claims> {
    let payload = token.trim().split('.').nth(1)?;
    serde_json::from_slice(&base64url(payload)?).ok()
}

/// RFC 4648, section 5, without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(six), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        // {"exp":7200,"iat":3600,"kubernetes.io":{"namespace":"faultline",
        //  "serviceaccount":{"name":"faultline"},"node":{"name":"n1",
        //  "uid":"u"}}}
        let payload = "eyJleHAiOjcyMDAsImlhdCI6MzYwMCwia3ViZXJuZXRlcy5pbyI6ey\
                       JuYW1lc3BhY2UiOiJmYXVsdGxpbmUiLCJzZXJ2aWNlYWNjb3VudCI6\
                       eyJuYW1lIjoiZmF1bHRsaW5lIn0sIm5vZGUiOnsibmFtZSI6Im4xIi\
                       widWlkIjoidSJ9fX0";
        let said = claims(&format!("e30.{payload}.x\n")).unwrap();
        assert_eq!((said.exp, said.iat), (7200, 3600));
        assert_eq!(said.whose.node.as_ref().unwrap().name, "n1");
        let path = path(&said.whose).unwrap();
        assert!(path.ends_with("/serviceaccounts/faultline/token"), "{path}");
        for bad in ["", "a.b", "a.!.c", "a.e30.c", payload] {
            assert_eq!(claims(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base64url_is_decoded() {
        assert_eq!(base64url("_-8").unwrap(), [0xFF, 0xEF]);
        assert_eq!(base64url("Zm9v").unwrap(), b"foo");
        assert_eq!(base64url("Zm9v=="), None);
    }
}
