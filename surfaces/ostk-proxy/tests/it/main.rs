//! The proxy as its clients, the other machines and the desk see it: everything on loopback, with real sockets.

mod desk;
mod egress;
mod hostile;
mod relay;
mod relay_hostile;
mod vendor;
