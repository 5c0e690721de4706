//! How members' programs reach a server that only its own machine can: a socket on each, whose connections end here and go on
//! from here. Nothing of what passes is kept.

use std::sync::Mutex;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::MigrateError;
use crate::cluster::postgres::foreign::Foreign;
use crate::engine::dump::socket;
use crate::error::one_line;
use crate::inventory::Reach;
use crate::transport::{Stream, Streams, Transport};

pub(super) struct Bridge<'a> {
    foreign: &'a Foreign<'a>,
    /// None when members reach it over the network.
    gates: Vec<Gate>,
    /// Why the last connection was not to be had: programs only say that it was closed.
    refused: Mutex<Option<String>>,
}

struct Gate {
    transport: std::sync::Arc<dyn Transport>,
    streams: tokio::sync::Mutex<Streams>,
}

impl<'a> Bridge<'a> {
    /// `members` are connections to those who are to reach it.
    pub async fn open(foreign: &'a Foreign<'a>, members: &[&dyn Transport]) -> Result<Self, MigrateError> {
        let mut gates = Vec::new();
        for member in members.iter().filter(|_| foreign.reach() == Reach::Ssh) {
            // a connection of its own, so that closing it takes the socket away
            let transport = member.again().await?;
            let streams = transport.listen(&socket(foreign.source().port)).await?;
            gates.push(Gate { transport, streams: tokio::sync::Mutex::new(streams) });
        }
        Ok(Self { foreign, gates, refused: Mutex::default() })
    }

    /// The work, while whoever comes is let through.
    pub async fn while_open<T>(&self, work: impl Future<Output = Result<T, MigrateError>>) -> Result<T, MigrateError> {
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.let_through() => match never {},
        };
        let refused = self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        match (done, refused) {
            (Err(error @ (MigrateError::Dump(_) | MigrateError::Step(_))), Some(reason)) => {
                Err(MigrateError::failed(one_line(&error), format!("its server did not take a connection: {reason}")))
            }
            (done, _) => done,
        }
    }

    async fn let_through(&self) -> std::convert::Infallible {
        futures::future::join_all(self.gates.iter().map(|gate| self.through(gate))).await;
        std::future::pending().await
    }

    async fn through(&self, gate: &Gate) -> std::convert::Infallible {
        let mut streams = gate.streams.lock().await;
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = streams.recv() => match stream {
                    Some(stream) => under_way.push(self.one(stream)),
                    // the connection is gone, which the work notices by itself
                    None => return std::future::pending().await,
                },
                Some(()) = under_way.next() => {}
            }
        }
    }

    async fn one(&self, mut near: Box<dyn Stream>) {
        match self.foreign.open_alone().await {
            Ok(mut far) => {
                // either side may hang up at any time: both ends see that
                drop(tokio::io::copy_bidirectional(&mut near, &mut far.stream).await);
                far.close().await;
            }
            Err(error) => {
                *self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(one_line(&error));
            }
        }
    }

    pub async fn close(self) {
        for gate in self.gates {
            gate.transport.close().await;
        }
    }
}
