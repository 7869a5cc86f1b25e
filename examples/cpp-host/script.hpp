// What is wrong with a script, or with what it names.
#pragma once

#include <stdexcept>

class ScriptError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
