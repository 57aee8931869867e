//! Connections to receivers that answer nothing, and what is known of them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};
use turnpike_audit::sinks::outside::{Connection, OutsideError};
use turnpike_audit::sinks::syslog::WAITING;

/// How long a connection may take bytes, or keep a handshake waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that acknowledges nothing or takes nothing for so long, or that was silent for so long and does
/// not answer then, is gone. What was sent on the connection is sent again: `sinks/syslog.rs` counts on this.
const GONE_AFTER: Duration = Duration::from_secs(30);
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Bytes that the system is asked to let wait. It doubles that, for what it notes beside them, and goes
/// beyond by the last piece that it takes.
const SEND_BUFFER: usize = 64 << 10;
const PIECE: usize = 64 << 10;
const _: () = assert!(2 * SEND_BUFFER + PIECE <= WAITING);

/// Reads at a time of what a receiver says. The end of one that says more is found the next time.
const READS: usize = 16;

/// How long a receiver may take to close what is finished.
const TO_CLOSE: Duration = Duration::from_secs(1);

/// Makes a connection ready to be written to by a thread, and to break where nobody is there.
pub(super) fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nonblocking(false)?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let socket = SockRef::from(tcp);
    let asked = TcpKeepalive::new()
        .with_time(GONE_AFTER)
        .with_interval(ASKED_EVERY)
        .with_retries(1);
    socket.set_tcp_keepalive(&asked)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(GONE_AFTER))?;
    Ok(())
}

/// A connection in clear text.
pub(super) struct Tcp(pub(super) TcpStream);

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for Tcp {
    fn check(&mut self) -> Result<(), OutsideError> {
        at_once(&mut self.0, |tcp| tcp.read(&mut [0; 512]))
    }

    fn finish(&mut self) {
        close(&mut self.0);
    }
}

/// TLS over a connection.
pub(super) struct Tls(pub(super) StreamOwned<ClientConnection, TcpStream>);

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for Tls {
    fn check(&mut self) -> Result<(), OutsideError> {
        // It reads what TLS itself says, such as tickets, and that a certificate of ours is refused.
        let Self(stream) = self;
        let (tls, tcp) = (&mut stream.conn, &mut stream.sock);
        at_once(tcp, |tcp| rustls::Stream::new(tls, tcp).read(&mut [0; 512]))
    }

    fn finish(&mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
        close(&mut self.0.sock);
    }
}

/// That there is nothing to read, rather than the end. What receivers of a log say is passed over.
fn at_once(
    tcp: &mut TcpStream,
    mut read: impl FnMut(&mut TcpStream) -> io::Result<usize>,
) -> Result<(), OutsideError> {
    let failed = |error: io::Error| OutsideError(format!("the connection broke: {error}"));
    tcp.set_nonblocking(true).map_err(failed)?;
    let mut outcome = Ok(());
    for _ in 0..READS {
        match read(tcp) {
            Ok(0) => outcome = Err(OutsideError("it closed the connection".to_owned())),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => outcome = Err(failed(error)),
        }
        break;
    }
    tcp.set_nonblocking(false).map_err(failed)?;
    outcome
}

/// Says that nothing more comes, and waits for the end of the other side.
fn close(tcp: &mut TcpStream) {
    let _ = tcp.shutdown(Shutdown::Write);
    let _ = tcp.set_read_timeout(Some(TO_CLOSE));
    let (begun, mut rest) = (Instant::now(), [0; 512]);
    // One that goes on talking is left.
    while begun.elapsed() < TO_CLOSE && matches!(tcp.read(&mut rest), Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Tcp, TcpStream) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        prepare(&tcp).unwrap();
        (Tcp(tcp), socket.accept().unwrap().0)
    }

    #[test]
    fn one_that_nobody_answers_on_breaks_before_what_was_sent_is_forgotten() {
        let (Tcp(tcp), _receiver) = pair();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), GONE_AFTER);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(GONE_AFTER));
        // Of 40 seconds, 35 have passed for certain.
        assert!(GONE_AFTER + ASKED_EVERY < Duration::from_secs(35));
        assert!(socket.send_buffer_size().unwrap() <= 2 * SEND_BUFFER);
    }

    #[test]
    fn one_that_does_not_stop_talking_is_there_and_is_left_at_the_end() {
        let (mut tcp, mut receiver) = pair();
        receiver.set_nonblocking(true).unwrap();
        while receiver.write(&[b'.'; 4096]).is_ok() {}
        receiver.set_nonblocking(false).unwrap();
        let talks = std::thread::spawn(move || while receiver.write(&[b'.'; 4096]).is_ok() {});
        assert!(tcp.check().is_ok());
        tcp.finish();
        drop(tcp);
        talks.join().unwrap();
    }

    #[test]
    fn what_a_receiver_says_is_passed_over_and_its_end_is_known() {
        let (mut tcp, mut receiver) = pair();
        assert!(tcp.check().is_ok());
        receiver.write_all(&[b'.'; 2000]).unwrap();
        receiver.shutdown(Shutdown::Write).unwrap();
        // What was said comes before the end; the end may take a moment.
        let error = loop {
            if let Err(error) = tcp.check() {
                break error;
            }
        };
        assert_eq!(error.to_string(), "it closed the connection");
    }
}
