//! CB-127x: pipelines of data processors.

codes! {
    PIPELINE = "CB-1270", Invalid, "The pipeline cannot be used";
    ROW = "CB-1271", Invalid, "A row of the data does not read";
    HELD = "CB-1272", TooLarge, "The work needs more memory for rows than it may take";
    BOUND = "CB-1273", TooLarge, "The data is over a bound";
    SOURCE = "CB-1274", Invalid, "There is no data where it should be";
    VALUE = "CB-1275", Invalid, "A value of a row does not fit the operation";
}
