// What every test includes, compiled once.
#include <catch2/catch.hpp>
#include <string>
#include <vector>
