//! CB-038x: tests, dry runs and imports of workflows.

codes! {
    TEST_FILE = "CB-0380", Invalid, "The test file has problems";
    NO_MOCK = "CB-0381", Invalid, "A step would leave the process and has no mock";
    ENDLESS = "CB-0382", Invalid, "A test or dry run does not end";
    IMPORT = "CB-0383", Invalid, "The file is not a definition that can be imported";
}
