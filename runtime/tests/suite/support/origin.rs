//! A server that sends exactly the bytes that it is told to, right or wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    /// Keeps the connection open and says no more.
    hang: bool,
}

impl Reply {
    /// `status` as in "200 OK", headers as in "etag: \"a\"".
    pub fn new(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!("HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n");
        Self { head, body: body.to_vec(), hang: false }
    }

    /// 200 with an honest length and an ETag.
    pub fn file(body: &[u8]) -> Self {
        Self::new("200 OK", &[&format!("content-length: {}", body.len()), "etag: \"v1\""], body)
    }

    /// 200 that announces all of `body` and sends the first `cut` bytes.
    pub fn cut(body: &[u8], cut: usize) -> Self {
        Self { body: body[..cut].to_vec(), ..Self::file(body) }
    }

    pub fn redirect(target: &str) -> Self {
        Self::new("302 Found", &[&format!("location: {target}"), "content-length: 0"], b"")
    }

    pub fn then_hang(self) -> Self {
        Self { hang: true, ..self }
    }
}

/// Gives one reply per connection, in order; the last one again and again.
pub struct Origin {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Origin {
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::start_with(|_| replies).await
    }

    /// For replies that name the server's own address.
    pub async fn start_with(replies: impl FnOnce(SocketAddr) -> Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies = replies(address);
        let heads = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn(run(listener, replies, heads.clone()));
        Self { address, heads, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/m.safetensors?token=secret", self.address)
    }

    /// The request heads received, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn run(listener: TcpListener, replies: Vec<Reply>, heads: Arc<Mutex<Vec<String>>>) {
    let mut open = Vec::new();
    let mut next = 0;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let reply = &replies[next.min(replies.len() - 1)];
        next += 1;
        let head = read_head(&mut stream).await;
        heads.lock().unwrap().push(head);
        // The other side may hang up before it has read everything.
        let _ = stream.write_all(reply.head.as_bytes()).await;
        let _ = stream.write_all(&reply.body).await;
        if reply.hang {
            open.push(stream);
        } else {
            let _ = stream.shutdown().await;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut block = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut block).await {
            Ok(n) if n > 0 => head.extend_from_slice(&block[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).to_lowercase()
}
