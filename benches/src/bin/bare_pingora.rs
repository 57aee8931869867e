//! What Turnpike is measured against: Pingora's own proxy as its guide makes one, on one thread,
//! with the allocator every Rust program gets.

use std::net::SocketAddr;

use async_trait::async_trait;
use clap::Parser;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
}

struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

fn main() {
    let args = Args::parse();
    let conf = ServerConf {
        threads: 1,
        // SIGTERM ends it at once: callgrind writes its counts at the end of the process.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "an address needs no resolving; this is Pingora as it comes"
    )]
    let peer = HttpPeer::new(args.upstream, false, String::new());
    let mut service = http_proxy_service(&server.configuration, Bare { peer });
    service.add_tcp(&args.listen.to_string());
    server.add_service(service);
    server.run_forever();
}
