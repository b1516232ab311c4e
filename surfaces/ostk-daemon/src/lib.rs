//! The anchor: runs the kernel's decisions, serves JSON-RPC and MCP.
