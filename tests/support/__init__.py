"""What tests share: a served chat function, a stream reader, peers that listen on loopback, needed programs."""
