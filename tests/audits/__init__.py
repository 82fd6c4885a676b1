"""What others' tools say of a deployment's servers, held against what is explained."""
