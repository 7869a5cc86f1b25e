module example.org/go-host

go 1.19
