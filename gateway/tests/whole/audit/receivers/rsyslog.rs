//! Debian's rsyslog, over TLS with a client's certificate.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use turnpike::clock::Time;

use super::{CHAT, canary, directory, provider, stopped};
use crate::harness::{Answer, Client, House, Http, config, until};

/// One that runs, and where it writes.
struct Rsyslog {
    child: Child,
    port: u16,
    received: PathBuf,
}

impl Rsyslog {
    /// Takes connections of those who show a certificate for `gateway.test`.
    async fn start(dir: &Path) -> Self {
        let here = dir.display();
        let received = dir.join("received.jsonl");
        let conf = dir.join("rsyslog.conf");
        std::fs::write(
            &conf,
            format!(
                r#"global(workDirectory="{here}" maxMessageSize="64k"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{here}/ca.pem"
  defaultNetstreamDriverCertFile="{here}/localhost.crt"
  defaultNetstreamDriverKeyFile="{here}/localhost.key")
module(load="mmpstrucdata")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1"
  streamDriver.authMode="x509/name" permittedPeer=["gateway.test"])
template(name="parsed" type="list" option.jsonf="on") {{
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="process" name="procid" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="parameters" name="$!rfc5424-sd" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
ruleset(name="received") {{
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{here}/received.jsonl" template="parsed")
}}
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{here}/port" ruleset="received")
"#
            ),
        )
        .unwrap();
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-i", "NONE", "-f"])
            .arg(&conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("rsyslogd is missing: run scripts/prepare build");
        let listens = dir.join("port");
        let port = || std::fs::read_to_string(&listens).unwrap_or_default();
        until(|| port().trim().parse::<u16>().is_ok_and(|port| port > 0)).await;
        Self {
            child,
            port: port().trim().parse().unwrap(),
            received,
        }
    }

    fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.received).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A model's name that would be a line of the log of its own.
const MODEL: &str =
    "gpt\n<13>1 2026-01-01T00:00:00Z evil su - - - root logged in\r\u{1b}[2J \"]\\ ä";

#[tokio::test]
async fn rsyslog_parses_every_field_whatever_callers_write() {
    let (dir, authority) = directory();
    authority.write(dir.path(), "client", &["gateway.test"], 2);
    let rsyslog = Rsyslog::start(dir.path()).await;
    let provider = provider().await;
    let yaml = format!(
        "tenants: {{acme: {{}}}}\naudit: {{sinks: [{{kind: file, path: audit.jsonl}}, {{kind: syslog, address: \"tls://localhost:{}\", \
         tls: {{ca_file: ca.pem, cert: client.crt, key: client.key}}}}]}}\n{}",
        rsyslog.port,
        config(&provider.base_url(), 1).replace(
            "name: tests}",
            "name: tests, tenant: acme, models: [gpt-4o]}"
        ),
    );
    let house = House::serve_by(Time::system(), dir, &yaml).await;
    let mut client = Client::connect(&house, Http::One).await;
    for (model, status) in [(MODEL, 403), ("gpt-4o", 200)] {
        let body = serde_json::json!({"model": model, "messages": []}).to_string();
        let mut request = client.request(CHAT, body);
        let agent = "agent\t] \" \\ turnpike@32473 seq=\"9\"".parse().unwrap();
        request.headers_mut().insert("user-agent", agent);
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        client = Client::connect(&house, Http::One).await;
    }
    house.settled().await;
    let written = stopped(&house).await;
    until(|| rsyslog.received().len() >= written.len()).await;
    let received = rsyslog.received();
    canary::left("rsyslog", &std::fs::read(&rsyslog.received).unwrap());
    assert_eq!(received.len(), written.len());
    for (message, record) in received.iter().zip(&written) {
        let text = message["message"].as_str().unwrap();
        assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), record);
        assert_eq!(message["facility"], "audit");
        assert_eq!(message["version"], "1");
        assert_eq!(message["host"], record["replica"]);
        assert_eq!(message["app"], "turnpike");
        assert_eq!(message["process"], std::process::id().to_string());
        assert_eq!(message["id"], record["event"]);
        assert_eq!(time(&message["time"]), time(&record["time"]));
        let parameters: Value =
            serde_json::from_str(message["parameters"].as_str().unwrap()).unwrap();
        let parameters = &parameters["turnpike@32473"];
        for name in [
            "chain", "hash", "event", "client", "decision", "outcome", "reason",
        ] {
            assert_eq!(parameters[name], record[name], "{name}");
        }
        assert_eq!(parameters["seq"], record["seq"].to_string());
        assert_eq!(parameters["user"], record["who"]["name"]);
        assert_eq!(parameters["tenant"], record["who"]["tenant"]);
        let status = record["status"].as_u64().map(|status| status.to_string());
        assert_eq!(parameters["status"].as_str(), status.as_deref());
    }
    let of = |event: &str| received.iter().find(|one| one["id"] == event).unwrap();
    let denied = of("authorization.denied");
    assert_eq!(denied["severity"], "warning");
    let denial = written
        .iter()
        .find(|one| one["event"] == "authorization.denied");
    let denial = denial.unwrap();
    // So that there was something to compare.
    assert_eq!(
        (denial["status"].as_u64(), &denial["who"]["tenant"]),
        (Some(403), &"acme".into())
    );
    assert_eq!(denial["reason"], "model_denied");
    let parameters = denied["parameters"].as_str().unwrap();
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let shown = MODEL
        .replace('\n', "\\u000a")
        .replace('\r', "\\u000d")
        .replace('\u{1b}', "\\u001b");
    assert_eq!(parameters["turnpike@32473"]["model"], shown);
    let start = of("request.start");
    assert_eq!(start["severity"], "info");
    let parameters: Value = serde_json::from_str(start["parameters"].as_str().unwrap()).unwrap();
    let agent = &parameters["turnpike@32473"]["userAgent"];
    assert_eq!(agent, "agent\\u0009] \" \\ turnpike@32473 seq=\"9\"");
}

fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}
