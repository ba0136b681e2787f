"""PrimeDHT: a libp2p Kademlia node that stores, finds and moves what machine learning makes."""
