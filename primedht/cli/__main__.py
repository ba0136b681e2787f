from primedht.cli import main

main()
