//! A line to a server that a test ends or holds up at a moment of its choice, or that falls dumb by itself.
//!
//! It runs on threads of its own, and its verbs block: with them a test stands still in the middle of a step of the
//! product, everything else with it, until the world is as it should be when the step goes on.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use loyalty_common::secret::{Endpoint, SecretUrl};
use url::Url;

/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Leads to the server.
#[derive(Clone)]
pub(crate) struct Line {
    url: String,
    wires: Arc<Mutex<Vec<Wire>>>,
    /// Those that `end` has ended: who comes back meanwhile is on a new one, which nobody ends.
    ending: Arc<Mutex<Vec<Wire>>>,
    answers: Arc<Answers>,
}

/// One connection, as seen from the server's end.
struct Wire {
    client: TcpStream,
    closed: Receiver<()>,
}

/// What the server answers on any of the connections.
#[derive(Default)]
struct Answers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    /// Answers that wait to be let go.
    waiting: usize,
}

impl Line {
    /// A line to the server of a URL, on this machine.
    pub(crate) fn to<S: Endpoint>(server: &SecretUrl<S>) -> Self {
        Self::dumb_at_first(server, 0)
    }

    /// The same to a broker, with first connections that are dumb: they live, and nobody hears what they ask for.
    pub(crate) fn dumb_at_first<S: Endpoint>(server: &SecretUrl<S>, connections: usize) -> Self {
        let mut url = Url::parse(server.expose()).expect("a URL");
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().expect("the server's port")));
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        url.set_port(Some(door.local_addr().expect("an address").port())).expect("a URL with a port");
        let line =
            Self { url: url.to_string(), wires: Arc::default(), ending: Arc::default(), answers: Arc::default() };
        let (wires, answers) = (Arc::clone(&line.wires), Arc::clone(&line.answers));
        thread::spawn(move || {
            for (number, client) in door.incoming().enumerate() {
                let connect = |client| connect(client, upstream, Arc::clone(&answers), number < connections);
                let wire = client.and_then(connect).expect("a connection to the server");
                wires.lock().expect("nobody panicked").push(wire);
            }
        });
        line
    }

    /// The server's URL by this line.
    pub(crate) fn url<S: Endpoint>(&self) -> SecretUrl<S> {
        SecretUrl::known(&self.url)
    }

    /// Ends all connections. Their clients have yet to notice.
    pub(crate) fn end(&self) {
        let mut ending = self.ending.lock().expect("nobody panicked");
        for wire in self.wires.lock().expect("nobody panicked").drain(..) {
            // One that its client closed is ended already.
            let _ = wire.client.shutdown(Shutdown::Write);
            ending.push(wire);
        }
    }

    /// Waits until the clients of all connections that were ended have closed their ends.
    pub(crate) fn ended(&self) {
        for wire in self.ending.lock().expect("nobody panicked").drain(..) {
            wire.closed.recv_timeout(PATIENCE).expect("the client closes its end");
        }
    }

    /// Keeps what the server answers from now on.
    pub(crate) fn hold(&self) {
        self.answers.lock().held = true;
    }

    /// Waits until there is an answer, lets go, and waits until the client has it.
    pub(crate) fn release(&self) {
        self.answers.wait_until(|state| state.waiting > 0).held = false;
        self.answers.changed.notify_all();
        drop(self.answers.wait_until(|state| state.waiting == 0));
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    fn wait_until(&self, reached: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !reached(state));
        let (state, waited) = waiting.expect("nobody panicked");
        assert!(!waited.timed_out(), "waited in vain for an answer to come or to go");
        state
    }

    /// Passes answers on, now or once they are let go.
    fn pass(&self, mut server: TcpStream, mut client: TcpStream) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = server.read(&mut chunk)?;
            if length == 0 {
                return client.shutdown(Shutdown::Write);
            }
            let mut state = self.lock();
            state.waiting += 1;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| state.held).expect("nobody panicked");
            // Written before anybody hears that it is gone.
            let written = client.write_all(&chunk[..length]);
            state.waiting -= 1;
            self.changed.notify_all();
            drop(state);
            written?;
        }
    }
}

fn connect(client: TcpStream, upstream: SocketAddr, answers: Arc<Answers>, dumb: bool) -> io::Result<Wire> {
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (closing, closed) = channel();
    let wire = Wire { client: client.try_clone()?, closed };
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || answers.pass(from_server, to_client));
    thread::spawn(move || listen(client, server, dumb, &closing));
    Ok(wire)
}

/// Passes on what the client says, until it closes its end.
fn listen(mut client: TcpStream, mut server: TcpStream, dumb: bool, closing: &Sender<()>) {
    // However the server's end fares, it is the client's end that counts.
    if dumb {
        let _ = pass_without_channels(&mut client, &mut server);
    } else {
        let _ = io::copy(&mut client, &mut server);
    }
    let _ = io::copy(&mut client, &mut io::sink());
    let _ = server.shutdown(Shutdown::Both);
    // Nobody waits for the end of most connections.
    let _ = closing.send(());
}

/// Passes on what is said of the connection as a whole, which is channel 0, and nothing else. First come eight bytes
/// that name the protocol, then frames: a kind, a channel, a length, that many bytes, and one more (AMQP 0-9-1, 4.2).
fn pass_without_channels(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let mut protocol = [0; 8];
    client.read_exact(&mut protocol)?;
    server.write_all(&protocol)?;
    loop {
        let mut head = [0; 7];
        client.read_exact(&mut head)?;
        let [_, high, low, length @ ..] = head;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize + 1];
        client.read_exact(&mut rest)?;
        if [high, low] == [0, 0] {
            server.write_all(&head)?;
            server.write_all(&rest)?;
        }
    }
}
