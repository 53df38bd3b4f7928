//! What an operator orders: revoking, rotating.
