//! Short calls, many at once: each sends some bytes, gets some back, and is over.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType, sockopt};
use weir_tests::DEADLINE;
use weir_tests::netns::Netns;

/// Ports that are called in turn.
pub const SERVER_PORTS: RangeInclusive<u16> = 9001..=9008;
const FIRST_CLIENT_PORT: u16 = 20_000;
/// Callers at once.
const CALLERS: u32 = 8;

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub client_port: u16,
    pub server_port: u16,
    /// Bytes to the server and back.
    pub sent: u64,
    pub received: u64,
}

/// Makes so many calls. The server closes first, so that the caller's ports are free for others at once.
pub fn make(client: &Netns, server: &Netns, to: Ipv4Addr, calls: u32) -> Result<Vec<Call>> {
    let listeners: Vec<TcpListener> =
        server.enter(|| SERVER_PORTS.map(|port| Ok(TcpListener::bind((to, port))?)).collect())?;
    let ports = u32::try_from(listeners.len())?;
    std::thread::scope(|scope| {
        for (index, listener) in (0..).zip(&listeners) {
            // As many as will call this port.
            let expected = calls / ports + u32::from(index < calls % ports);
            scope.spawn(move || serve(listener, expected));
        }
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let mine = (caller..calls).step_by(CALLERS as usize);
                scope.spawn(move || {
                    client.enter(|| mine.map(|number| call(to, number)).collect::<Result<Vec<_>>>())
                })
            })
            .collect();
        let mut made = Vec::with_capacity(calls as usize);
        for caller in callers {
            made.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
        }
        Ok(made)
    })
}

/// Answers each call with as many bytes as it asks for, and closes.
fn serve(listener: &TcpListener, calls: u32) {
    for stream in listener.incoming().take(calls as usize) {
        // What goes wrong here goes wrong at the caller too, who says so.
        let _ = stream.and_then(|mut stream| {
            let mut asked = [0; 4];
            stream.read_exact(&mut asked)?;
            let (more, answer) =
                (u16::from_be_bytes([asked[0], asked[1]]), u16::from_be_bytes([asked[2], asked[3]]));
            let mut rest = vec![0; usize::from(more)];
            stream.read_exact(&mut rest)?;
            stream.write_all(&vec![b'x'; usize::from(answer)])
        });
    }
}

fn connect(from: u16, to: SocketAddrV4) -> Result<TcpStream> {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, from))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

fn call(to: Ipv4Addr, number: u32) -> Result<Call> {
    let spread = u32::from(SERVER_PORTS.end() - SERVER_PORTS.start()) + 1;
    let server_port = SERVER_PORTS.start() + u16::try_from(number % spread)?;
    let (more, answer) = (u16::try_from(number % 700)?, u16::try_from(number % 1301)?);
    // No two calls have both ports alike.
    let client_port = FIRST_CLIENT_PORT + u16::try_from(number / spread)?;
    let mut stream = connect(client_port, SocketAddrV4::new(to, server_port))
        .with_context(|| format!("call {number} from port {client_port} to port {server_port}"))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut request = [more.to_be_bytes(), answer.to_be_bytes()].concat();
    request.resize(4 + usize::from(more), b'q');
    stream.write_all(&request)?;
    let mut answered = Vec::new();
    stream.read_to_end(&mut answered)?;
    anyhow::ensure!(answered.len() == usize::from(answer), "call {number}: {} bytes", answered.len());
    stream.shutdown(Shutdown::Both).ok();
    Ok(Call { client_port, server_port, sent: request.len() as u64, received: answered.len() as u64 })
}
