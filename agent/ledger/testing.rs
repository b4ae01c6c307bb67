//! What the ledger's tests build patterns and signals with.
