//! A model server that speaks the vendor wires from a script.
