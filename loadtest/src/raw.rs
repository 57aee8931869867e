//! The cheapest provider there is: for benches, where every microsecond the
//! upstream takes is one the gateway does not get.
//!
//! HTTP/1.1 with `Content-Length` bodies and keep-alive; any POST is answered
//! with one fixed chat completion, or with a fixed stream when its body says
//! `"stream":true`. Nothing is parsed beyond that, nothing recorded.

use std::io;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const COMPLETION: &str = concat!(
    r#"{"id":"chatcmpl-rawFakeProviderAnswer0000001","object":"chat.completion","#,
    r#""created":1715367049,"model":"gpt-4o-mini","choices":[{"index":0,"message":"#,
    r#"{"role":"assistant","content":"Hello from the fake provider.","refusal":null,"#,
    r#""annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":"#,
    r#"{"prompt_tokens":12,"completion_tokens":6,"total_tokens":18,"#,
    r#""prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#,
    r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"#,
    r#""accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"#,
    r#""service_tier":"default","system_fingerprint":"fp_44709d6fcb"}"#,
);

/// Serves until the listener fails; each connection on a task of its own.
pub async fn serve(listener: TcpListener, events: usize, gap: Duration) -> io::Result<()> {
    let answers: &'static Answers = Box::leak(Box::new(Answers::new(events, gap)));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(connection(socket, answers));
    }
}

struct Answers {
    whole: Vec<u8>,
    /// The head and all events, chunked; one write when there is no gap.
    stream: Vec<Vec<u8>>,
    gap: Duration,
}

impl Answers {
    fn new(events: usize, gap: Duration) -> Self {
        let length = COMPLETION.len();
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             x-request-id: req_raw\r\n\r\n{COMPLETION}"
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\nx-request-id: req_raw\r\n\r\n";
        let mut stream = vec![head.as_bytes().to_vec()];
        stream.extend((0..events).map(|_| chunk(&delta("{\"content\":\" word\"}", "null"))));
        let last = format!(
            "{}data: {{\"id\":\"chatcmpl-raw\",\"object\":\"chat.completion.chunk\",\
             \"created\":1715367049,\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":\
             {{\"prompt_tokens\":12,\"completion_tokens\":{events},\"total_tokens\":{}}}}}\n\n\
             data: [DONE]\n\n",
            delta("{}", "\"stop\""),
            events + 12
        );
        stream.push([chunk(&last), b"0\r\n\r\n".to_vec()].concat());
        if gap.is_zero() {
            stream = vec![stream.concat()];
        }
        Self {
            whole: whole.into_bytes(),
            stream,
            gap,
        }
    }
}

fn delta(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-raw\",\"object\":\"chat.completion.chunk\",\
         \"created\":1715367049,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\
         \"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

async fn connection(mut socket: TcpStream, answers: &Answers) -> io::Result<()> {
    let mut read = Vec::with_capacity(16 * 1024);
    loop {
        let Some(end) = request(&mut socket, &mut read).await? else {
            return Ok(());
        };
        let streams = memmem::find(&read[..end], b"\"stream\":true").is_some()
            || memmem::find(&read[..end], b"\"stream\": true").is_some();
        read.drain(..end);
        if !streams {
            socket.write_all(&answers.whole).await?;
            continue;
        }
        for (n, piece) in answers.stream.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(answers.gap).await;
            }
            socket.write_all(piece).await?;
        }
    }
}

/// Reads until `read` begins with a whole request, and says where that ends.
async fn request(socket: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut whole = None;
    loop {
        if whole.is_none()
            && let Some(head) = memmem::find(read, b"\r\n\r\n")
        {
            whole = Some(head + 4 + content_length(&read[..head]));
        }
        if let Some(end) = whole.filter(|end| *end <= read.len()) {
            return Ok(Some(end));
        }
        if socket.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n')
        .filter(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .find_map(|line| {
            std::str::from_utf8(&line[NAME.len()..])
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(body: &str, gap: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        tokio::spawn(serve(listener, 3, gap));
        let length = body.len();
        let one = format!("POST /v1/x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(one.repeat(2).as_bytes()).await.unwrap();
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200").count() < 2 || !answers.ends_with(['}', '\n']) {
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            answers.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        answers
    }

    #[tokio::test]
    async fn two_calls_on_one_connection_get_two_answers() {
        let answers = ask("{\"model\":\"m\"}", Duration::ZERO).await;
        assert_eq!(answers.matches("chat.completion\"").count(), 2);
        assert!((500..700).contains(&COMPLETION.len()));
        serde_json::from_str::<serde_json::Value>(COMPLETION).unwrap();
    }

    #[tokio::test]
    async fn a_stream_has_the_events_it_was_told_to_have() {
        for gap in [Duration::ZERO, Duration::from_millis(1)] {
            let answers = ask("{\"stream\": true}", gap).await;
            assert!(answers.matches(" word").count() >= 3, "{answers}");
            assert!(answers.contains("\"completion_tokens\":3") && answers.contains("[DONE]"));
        }
    }
}
