//! The section `egress`, and the proxies of the environment.

use crate::document::Egress;
use crate::locate::Path;
use crate::plan::{EgressPlan, ProxyChoice, ProxyUrl};

use super::{Context, proxy};

pub(super) fn egress(written: &Egress, context: &mut Context<'_>) -> EgressPlan {
    let section = Path::default().field("egress");
    let of_file = proxy::choice(
        written.proxy_url.as_ref(),
        &section.field("proxy_url"),
        context,
    );
    let of_file = match of_file {
        ProxyChoice::Url(url) => Some(url),
        ProxyChoice::Inherit | ProxyChoice::Direct => None,
    };
    let http = of_environment(&["HTTP_PROXY", "http_proxy"], context);
    let https = of_environment(&["HTTPS_PROXY", "https_proxy"], context);
    let ca_file = written.ca_file.as_ref();
    EgressPlan {
        http_proxy: http.or_else(|| of_file.clone()),
        https_proxy: https.or(of_file),
        no_proxy: no_proxy(context),
        ca_file: ca_file.map(|file| context.readable(&section.field("ca_file"), file)),
        allow_private: written.allow_private,
        allowed_hosts: allowed_hosts(written, &section.field("allowed_hosts"), context),
    }
}

fn of_environment(names: &[&str], context: &mut Context<'_>) -> Option<ProxyUrl> {
    let (name, text) = context.environment.first(names)?;
    match proxy::parse(text) {
        Ok(url) => Some(url),
        Err(message) => {
            context.report.variable(name, message);
            None
        }
    }
}

fn no_proxy(context: &Context<'_>) -> Vec<String> {
    let listed = context
        .environment
        .first(&["NO_PROXY", "no_proxy"])
        .map_or("", |(_, list)| list);
    let hosts = listed
        .split([',', ' '])
        .map(str::trim)
        .filter(|host| !host.is_empty());
    hosts.map(str::to_lowercase).collect()
}

fn allowed_hosts(written: &Egress, key: &Path, context: &mut Context<'_>) -> Vec<String> {
    for (index, host) in written.allowed_hosts.iter().enumerate() {
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            let message = "expected a host without scheme or path, such as api.example.com";
            context.report.at(&key.item(index), message);
        }
    }
    written
        .allowed_hosts
        .iter()
        .map(|host| host.to_lowercase())
        .collect()
}
