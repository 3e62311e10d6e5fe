// Fine with the consumer's own flags, refused by rota's. If this file fails to compile, our warnings leaked.
unsigned narrow(int value) { return value; }
char narrow(long value) { return value; }
